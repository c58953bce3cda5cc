use super::*;

/// What these flags and this file make of the settings, or what is wrong with them.
fn load(yaml: &str, flags: &[&str]) -> Result<Settings, String> {
    let file = GraphiteSettings::load("config_graphite.yaml", yaml).unwrap();
    let flags = Flags::try_parse_from([&["relay"], flags].concat());
    let flags = flags.map_err(|error| error.to_string())?;
    Settings::merge(file, &flags).map_err(|error| error.to_string())
}

fn check_carbon(settings: &Settings, host: &str, port: u16) {
    assert_eq!(
        (settings.carbon_host.as_str(), settings.carbon_port),
        (host, port)
    );
}

#[test]
fn without_file_and_flags_everything_has_its_default() {
    let settings = Settings::load(&Flags::default()).unwrap();
    assert_eq!(settings.listen, ["127.0.0.1:2080".parse().unwrap()]);
    check_carbon(&settings, "127.0.0.1", 2003);
    assert_eq!(settings.spool, std::path::absolute("spool").unwrap());
    assert_eq!(settings.limits.max_bytes, 1 << 30);
    assert_eq!(settings.limits.replay_window, Duration::from_secs(900));
    assert_eq!(settings.drain_timeout, Duration::from_secs(10));
    assert!(settings.token_file.is_none() && settings.tls.is_none());
}

#[test]
fn flags_win_over_the_file() {
    let yaml = "carbon_server: file\ncarbon_port: 1\nrelay: { listen: '127.0.0.1:1', spool: file, token_file: file, drain_timeout_seconds: 1 }";
    let flags = [
        "--carbon=flag:2",
        "--listen=[::1]:2",
        "--spool=flag",
        "--token-file=flag",
        "--drain-timeout=2",
    ];
    for (flags, name, listen, number) in [
        (&[][..], "file", "127.0.0.1:1", 1),
        (&flags, "flag", "[::1]:2", 2),
    ] {
        let settings = load(yaml, flags).unwrap();
        check_carbon(&settings, name, number);
        assert_eq!(settings.listen, [listen.parse().unwrap()]);
        let path = std::path::absolute(name).unwrap();
        assert_eq!(
            (&settings.spool, &settings.token_file),
            (&path, &Some(path.clone()))
        );
        assert_eq!(settings.drain_timeout, Duration::from_secs(number.into()));
    }
}

#[test]
fn a_body_is_never_larger_than_the_spool() {
    let settings = load("relay: { spool_max_bytes: 1048576 }", &[]).unwrap();
    assert_eq!(settings.max_body_bytes, (1 << 20) - 4096);
}

#[test]
fn carbon_is_a_host_and_a_port() {
    for host in ["127.0.0.1", "carbon.example", "[::1]"] {
        let settings = load("", &["--carbon", &format!("{host}:2004")]).unwrap();
        check_carbon(&settings, host.trim_matches(['[', ']']), 2004);
    }
    for text in [
        "",
        "carbon",
        ":2003",
        "carbon:",
        "carbon:0",
        "carbon:70000",
        "carbon:x",
    ] {
        assert!(load("", &["--carbon", text]).is_err(), "{text}");
    }
}

#[test]
fn doors_to_other_machines_need_token_and_tls() {
    for listen in ["127.0.0.1:0", "127.1.2.3:0", "[::1]:0", "localhost:0"] {
        assert!(load("", &["--listen", listen]).is_ok(), "{listen}");
    }
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        assert!(load("", &["--listen", listen]).is_err(), "{listen}");
        let both = [
            "--listen",
            listen,
            "--token-file=t",
            "--tls-cert=c",
            "--tls-key=k",
        ];
        assert!(load("", &both).unwrap().open_door().is_none());
        let insecure = load("", &["--listen", listen, "--insecure"]);
        assert!(insecure.unwrap().open_door().is_some());
    }
}

#[test]
fn r11_r12_what_is_wrong_is_said_in_full() {
    let wrong = [
        load("", &["--listen=0.0.0.0:2080"]),
        load("", &["--listen=:2080"]),
        load("relay: { spool: '~/x' }", &[]),
        load("relay: { tls_client_ca: '/a' }", &[]),
    ];
    insta::assert_snapshot!(wrong.map(Result::unwrap_err).join("\n"), @"
    listen (--listen): 0.0.0.0:2080 can be reached from other machines, which needs a token file (token_file, --token-file) and TLS (tls_cert and tls_key, --tls-cert and --tls-key); listen on 127.0.0.1, or add --insecure if something else protects the port
    listen (--listen): `:2080` is not HOST:PORT, write for instance 127.0.0.1:2080
    spool (--spool): `~/x` begins with `~`, which only a shell replaces: write the whole path
    one of tls_cert (--tls-cert) and tls_key (--tls-key) is missing, set both; tls_client_ca needs them, too
    ");
}

#[test]
fn r12_r16_the_keys_of_senders_certificates_and_of_the_future_are_read() {
    let yaml =
        "relay: { tls_cert: '/c', tls_key: '/k', tls_client_ca: '/a', max_future_seconds: 7 }";
    let settings = load(yaml, &[]).unwrap();
    assert_eq!(settings.tls.unwrap().client_ca, Some("/a".into()));
    assert_eq!(settings.max_future_seconds, 7);
}
