use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use catchpoint_sandbox::{Effect, Rule, Sandbox, Server, TestType, World};
use catchpoint_testbed::local;

use crate::common::{LASTRAW, START, V2, get, json, list, sandbox, token};

const SOON: Duration = Duration::from_secs(20);

fn serve() -> (Arc<Sandbox>, Server) {
    let sandbox = Arc::new(sandbox(World::builder().nodes(2).build()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Arc::clone(&sandbox).serve(listener).unwrap();
    (sandbox, server)
}

#[test]
fn the_server_answers_as_the_sandbox_does() {
    let (sandbox, server) = serve();
    let token = token(&sandbox);
    for kind in [TestType::Web, TestType::Ping] {
        let path = format!("{LASTRAW}?tests={}", list(sandbox.world().ids(kind)));
        let url = format!("http://{}{path}", server.address());
        let bearer = format!("Bearer {token}");
        let request = local::client(SOON).get(url).header("authorization", bearer);
        let body = request.call().unwrap().body_mut().read_to_string().unwrap();
        assert_eq!(body, get(&sandbox, &path, &token).1);
    }
}

#[test]
fn faults_break_connections() {
    let (sandbox, server) = serve();
    let ask = |effect| {
        sandbox.set_faults(vec![Rule::new(effect)]);
        let url = format!("http://{}{V2}?testIds=142600", server.address());
        let mut answer = local::client(SOON).get(url).call()?;
        answer.body_mut().read_to_string()
    };
    assert!(ask(Effect::Truncate { after: Some(9) }).is_err());
    assert!(ask(Effect::Refuse).is_err());
    assert!(ask(Effect::Delay { millis: 1 }).unwrap().starts_with('{'));
}

#[test]
fn calls_and_truth_are_told_from_outside() {
    let (sandbox, server) = serve();
    let ask = |path: &str| local::get(&format!("http://{}{path}", server.address()), SOON).unwrap();
    get(&sandbox, "/ui/api/v1/performance/raw/7", "x");
    let calls = json(&ask("/sandbox/calls"));
    assert_eq!(
        (&calls[0]["kind"], &calls[0]["tests"][0]),
        (&"ranged".into(), &7.into())
    );
    let told = ask(&format!("/sandbox/truth?from={}&to={START}", START - 600));
    let truth = sandbox.truth(START - 600, START);
    let truth: Vec<_> = truth
        .map(|it| serde_json::to_string(&it).unwrap())
        .collect();
    assert!(truth.len() > 1000);
    assert_eq!(told.lines().collect::<Vec<_>>(), truth);
}
