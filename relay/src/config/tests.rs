use super::*;

fn load(yaml: &str, flags: Flags) -> Result<Settings, String> {
    let file = GraphiteSettings::load("config_graphite.yaml", yaml).unwrap();
    Settings::merge(file, &flags).map_err(|error| error.to_string())
}

#[test]
fn without_file_and_flags_everything_has_its_default() {
    let settings = Settings::load(&Flags::default()).unwrap();
    assert_eq!(settings.listen, ["127.0.0.1:2080".parse().unwrap()]);
    assert_eq!(
        (settings.carbon_host.as_str(), settings.carbon_port),
        ("127.0.0.1", 2003)
    );
    assert_eq!(settings.spool, std::path::absolute("spool").unwrap());
    assert_eq!(settings.limits.max_bytes, 1 << 30);
    assert_eq!(settings.limits.replay_window, Duration::from_secs(900));
    assert_eq!(settings.drain_timeout, Duration::from_secs(10));
    assert!(settings.token_file.is_none() && settings.tls.is_none());
}

#[test]
fn flags_win_over_the_file() {
    let yaml = "carbon_server: file\ncarbon_port: 1\nrelay: { listen: '127.0.0.1:1', spool: file, token_file: file, drain_timeout_seconds: 1 }";
    let settings = load(yaml, Flags::default()).unwrap();
    assert_eq!(
        (settings.carbon_host.as_str(), settings.carbon_port),
        ("file", 1)
    );
    assert_eq!(settings.drain_timeout, Duration::from_secs(1));
    let flags = Flags {
        carbon: Some(("flag".to_owned(), 2)),
        listen: Some("[::1]:2".to_owned()),
        spool: Some("flag".into()),
        token_file: Some("flag".into()),
        drain_timeout: Some(2),
        ..Flags::default()
    };
    let settings = load(yaml, flags).unwrap();
    assert_eq!(
        (settings.carbon_host.as_str(), settings.carbon_port),
        ("flag", 2)
    );
    assert_eq!(settings.listen, ["[::1]:2".parse().unwrap()]);
    let flag = std::path::absolute("flag").unwrap();
    assert_eq!(settings.spool, flag);
    assert_eq!(settings.token_file, Some(flag));
    assert_eq!(settings.drain_timeout, Duration::from_secs(2));
}

#[test]
fn a_body_is_never_larger_than_the_spool() {
    let settings = load("relay: { spool_max_bytes: 1048576 }", Flags::default()).unwrap();
    assert_eq!(settings.max_body_bytes, (1 << 20) - 4096);
}

fn check_carbon(text: &str, expect: Option<(&str, u16)>) {
    let expect = expect.map(|(host, port)| (host.to_owned(), port));
    assert_eq!(host_and_port(text).ok(), expect, "{text}");
}

#[test]
fn carbon_is_a_host_and_a_port() {
    check_carbon("127.0.0.1:2003", Some(("127.0.0.1", 2003)));
    check_carbon("carbon.example:2003", Some(("carbon.example", 2003)));
    check_carbon("[::1]:2003", Some(("::1", 2003)));
    for text in [
        "",
        "carbon",
        ":2003",
        "carbon:",
        "carbon:0",
        "carbon:70000",
        "carbon:x",
    ] {
        check_carbon(text, None);
    }
}

#[test]
fn doors_to_other_machines_need_token_and_tls() {
    let flags = |listen: &str| Flags {
        listen: Some(listen.to_owned()),
        ..Flags::default()
    };
    for listen in ["127.0.0.1:0", "127.1.2.3:0", "[::1]:0", "localhost:0"] {
        assert!(load("", flags(listen)).is_ok(), "{listen}");
    }
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        assert!(load("", flags(listen)).is_err(), "{listen}");
        let both = Flags {
            token_file: Some("t".into()),
            tls_cert: Some("c".into()),
            tls_key: Some("k".into()),
            ..flags(listen)
        };
        assert!(load("", both).unwrap().open_door().is_none());
        let insecure = Flags {
            insecure: true,
            ..flags(listen)
        };
        assert!(load("", insecure).unwrap().open_door().is_some());
    }
    insta::assert_snapshot!(load("", flags("0.0.0.0:2080")).unwrap_err(), @"listen (--listen): 0.0.0.0:2080 can be reached from other machines, which needs a token file (token_file, --token-file) and TLS (tls_cert and tls_key, --tls-cert and --tls-key); listen on 127.0.0.1, or add --insecure if something else protects the port");
}

#[test]
fn r11_a_home_folder_is_not_made_of_a_tilde() {
    insta::assert_snapshot!(
        load("relay: { spool: '~/x' }", Flags::default()).unwrap_err(),
        @"spool (--spool): `~/x` begins with `~`, which only a shell replaces: write the whole path"
    );
}

#[test]
fn r11_a_host_is_needed_to_listen() {
    let flags = Flags {
        listen: Some(":2080".to_owned()),
        ..Flags::default()
    };
    insta::assert_snapshot!(
        load("", flags).unwrap_err(),
        @"listen (--listen): `:2080` is not HOST:PORT, write for instance 127.0.0.1:2080"
    );
}

#[test]
fn r12_the_keys_of_senders_certificates_and_of_the_future_are_read() {
    let yaml =
        "relay: { tls_cert: '/c', tls_key: '/k', tls_client_ca: '/a', max_future_seconds: 7 }";
    let settings = load(yaml, Flags::default()).unwrap();
    assert_eq!(settings.tls.unwrap().client_ca, Some("/a".into()));
    assert_eq!(settings.max_future_seconds, 7);
    insta::assert_snapshot!(
        load("relay: { tls_client_ca: '/a' }", Flags::default()).unwrap_err(),
        @"one of tls_cert (--tls-cert) and tls_key (--tls-key) is missing, set both; tls_client_ca needs them, too"
    );
}
