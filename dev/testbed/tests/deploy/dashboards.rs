//! The dashboards of `deploy/`: each query of each of them shows data of a run through real pieces, by
//! graphite-web's own API. Grafana itself is not run here; what it would ask Graphite is.

use std::collections::BTreeMap;
use std::time::Duration;

use catchpoint_testbed::demo::Demo;
use catchpoint_testbed::graphite::{PIPELINE, Range, name_of};
use catchpoint_testbed::pipeline::{Size, epoch_seconds};
use catchpoint_testbed::{Graphite, Venv, wait};
use serde_json::Value;

use crate::pages::{blocks, pages};
use crate::tools::read;

/// The relay sends its figures once a minute, and how fast they grow shows from the second time on.
const FIGURES: Duration = Duration::from_secs(200);

/// A query, with what each variable may be: it must show data for one of them.
struct Query {
    place: String,
    targets: Vec<String>,
}

impl Query {
    fn shows_data(&self, graphite: &Graphite, range: Range) -> bool {
        let shown = |target| !graphite.render(target, range).unwrap().is_empty();
        self.targets.iter().any(|target: &String| shown(target))
    }
}

type Variables = BTreeMap<String, String>;

/// A text of a Grafana dashboard with the values of its variables.
fn fill(text: &str, variables: &Variables) -> String {
    variables
        .iter()
        .fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("${{{name}:regex}}"), value)
                .replace(&format!("${name}"), value)
        })
}

/// What Graphite has for a variable of Grafana, asked as Grafana's data source asks.
fn options(graphite: &Graphite, query: &str) -> Vec<String> {
    let tag_values = query
        .strip_prefix("tag_values(")
        .and_then(|it| it.strip_suffix(')'));
    match tag_values {
        Some(tag_values) => {
            // As Grafana does: no blank is taken away.
            let mut words = tag_values.split(',');
            let mut asked = vec![("limit", "10000"), ("tag", words.next().unwrap())];
            asked.extend(words.map(|word| ("expr", word)));
            graphite.json("/tags/autoComplete/values", &asked).unwrap()
        }
        None => {
            let found: Vec<Value> = graphite.json("/metrics/find", &[("query", query)]).unwrap();
            let texts = found
                .iter()
                .map(|it| it["text"].as_str().unwrap().to_owned());
            texts.collect()
        }
    }
}

/// All variables' values together: each of the first that has many, and of the others all at once, a
/// group of them, or the one that is preset.
fn resolve(graphite: &Graphite, dashboard: &Value) -> Vec<Variables> {
    let mut all = vec![Variables::new()];
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let text = |key: &str| variable[key].as_str();
        let name = text("name").unwrap();
        let mut next = Vec::new();
        for variables in &all {
            let query = fill(text("query").unwrap(), variables);
            let values = match text("type").unwrap() {
                "datasource" => vec!["uid".to_owned()],
                "textbox" => vec![query],
                "query" => {
                    let found = options(graphite, &query);
                    let preset = variable["current"]["value"].as_str();
                    match (text("allValue"), preset) {
                        (Some(every), _) if found.is_empty() => vec![every.to_owned()],
                        (Some(every @ ".*"), _) => {
                            vec![every.to_owned(), format!("({})", found.join("|"))]
                        }
                        (Some(every), _) => {
                            vec![every.to_owned(), format!("{{{}}}", found.join(","))]
                        }
                        (None, Some(preset)) if found.iter().any(|it| it == preset) => {
                            vec![preset.to_owned()]
                        }
                        (None, _) => found,
                    }
                }
                other => panic!("{name} is of the type {other}"),
            };
            for value in values {
                let mut variables = variables.clone();
                variables.insert(name.to_owned(), value);
                next.push(variables);
            }
        }
        assert!(!next.is_empty(), "Graphite has nothing for ${name}");
        all = next;
    }
    all
}

fn of_grafana(graphite: &Graphite, file: &str) -> Vec<Query> {
    let dashboard: Value = serde_json::from_str(&read(file)).unwrap();
    let variables = resolve(graphite, &dashboard);
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let text = target["target"].as_str().unwrap();
            let filled = variables.iter().map(|variables| fill(text, variables));
            let filled: Vec<String> = filled.collect();
            assert!(filled.iter().all(|it| !it.contains("${")), "{filled:?}");
            queries.push(Query {
                place: format!("{file}: {}: {text}", panel["title"]),
                targets: filled,
            });
        }
    }
    queries
}

fn of_graphite_web(graphite: &Graphite, names: &[String]) -> Vec<Query> {
    let mut queries: BTreeMap<(usize, usize), Query> = BTreeMap::new();
    for name in names {
        for (at, graph) in graphite.dashboard(name).unwrap().into_iter().enumerate() {
            assert!(!graph.targets.is_empty(), "{}", graph.title);
            for (nth, target) in graph.targets.into_iter().enumerate() {
                let query = queries.entry((at, nth)).or_insert_with(|| Query {
                    place: format!("{}: {target}", graph.title),
                    targets: Vec::new(),
                });
                query.targets.push(target);
            }
        }
    }
    queries.into_values().collect()
}

/// The queries that the pages show, for the tests and the nodes that there are.
fn of_the_pages(tests: &[u64]) -> Vec<Query> {
    let mut queries = Vec::new();
    for (page, text) in pages() {
        let shown = blocks(&text)
            .into_iter()
            .filter(|(language, _)| language == "graphite");
        for line in shown.flat_map(|(_, text)| text.lines().map(str::to_owned).collect::<Vec<_>>())
        {
            let line = line.replace("nodeId=11", "nodeId=~.");
            let targets = tests
                .iter()
                .map(|test| line.replace("142619", &test.to_string()));
            queries.push(Query {
                place: format!("{page}: {line}"),
                targets: targets.collect(),
            });
        }
    }
    assert!(queries.len() > 3, "{}", queries.len());
    queries
}

/// One run of the demo serves both, because it takes a minute.
#[test]
fn a_real_graphite_holds_every_datapoint_and_every_query_of_every_dashboard_shows_data() {
    let venv = Venv::ensure_default().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::run(&venv, folder.path(), Size::SMALL, &|step| {
        eprintln!("{step}")
    })
    .unwrap();
    assert!(demo.is_complete(), "{:?}", demo.found);
    let graphite = &demo.graphite;
    let tests = demo.truth.kinds.values().flat_map(BTreeMap::keys);
    let tests: Vec<u64> = tests.copied().collect();
    graphite.save_dashboards(&tests).unwrap();
    // The relay's figures have to be there before a variable can list the relays.
    wait::until("the relay's own figures", FIGURES, || {
        Ok((!options(graphite, "carbon.relays.*").is_empty()).then_some(()))
    })
    .unwrap();
    let names: Vec<String> = tests.iter().copied().map(name_of).collect();
    let mut queries = of_graphite_web(graphite, &names);
    queries.extend(of_the_pages(&tests));
    queries.extend(of_graphite_web(graphite, &[PIPELINE.to_owned()]));
    for file in ["catchpoint-test.json", "catchpoint-pipeline.json"] {
        queries.extend(of_grafana(graphite, &format!("deploy/grafana/{file}")));
    }
    assert!(queries.len() > 60, "{}", queries.len());
    let mut empty = Vec::new();
    // Fails with those that show nothing, and not only with their number.
    let _ = wait::until("data for every query", FIGURES, || {
        let until = epoch_seconds();
        let range = Range {
            from: demo.range().from,
            until,
        };
        queries.retain(|query| !query.shows_data(graphite, range));
        empty = queries.iter().map(|query| query.place.clone()).collect();
        Ok(queries.is_empty().then_some(()))
    });
    assert!(empty.is_empty(), "no data for\n{}", empty.join("\n"));
}
