//! A component that does what its caller tells it to. The path of a request is the command, the
//! query its argument; the answer is the result, errors as their debug text. A variable with the name
//! of the command has it answered instead: a status and a body, or `do` and a command.

use bindings::fermyon::spin::{key_value::Store, variables};
use std::fmt::Debug;
use std::io::Write;
use wasi::exports::http::incoming_handler::Guest as HttpGuest;
use wasi::http::outgoing_handler;
use wasi::http::types::{
    Fields, IncomingRequest, Method, OutgoingBody, OutgoingRequest, OutgoingResponse,
    RequestOptions, ResponseOutparam, Scheme,
};

mod bindings {
    wit_bindgen::generate!({
        path: ["../../../wit", "../../wit"],
        inline: "
            package test:guest;
            world guest {
                include fermyon:spin-cron/spin-cron@2.0.0;
                include fermyon:spin/spin-imports@2.0.0;
            }
        ",
        world: "test:guest/guest",
        generate_all,
    });
}

struct Guest;
bindings::export!(Guest with_types_in bindings);
wasi::http::proxy::export!(Guest);

impl bindings::Guest for Guest {
    fn handle_cron_event(metadata: bindings::Metadata) -> Result<(), bindings::Error> {
        println!("fired at {}", metadata.timestamp);
        match variables::get("cron").as_deref() {
            Ok("fail") => Err(bindings::Error::Other("as told".to_owned())),
            Ok("") => Ok(()),
            Ok(command) => {
                act(command, "");
                Ok(())
            }
            Err(error) => Err(bindings::Error::Other(format!("{error:?}"))),
        }
    }
}

impl HttpGuest for Guest {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (path, argument) = target.split_once('?').unwrap_or((&target, ""));
        let command = path.trim_start_matches('/');
        if command == "silent" {
            return;
        }
        let told = variables::get(command).unwrap_or_default();
        let (status, text) = match told.split_once(' ') {
            Some(("do", told)) => {
                let (command, argument) = told.split_once('?').unwrap_or((told, ""));
                (200, act(command, argument))
            }
            Some((status, body)) => {
                println!("DEBUG asked {} {target}", shown_method(&request.method()));
                (status.parse().unwrap(), body.to_owned())
            }
            None if command == "die-answering" => (200, "half".to_owned()),
            None => (200, act(command, argument)),
        };
        let response = OutgoingResponse::new(Fields::new());
        response.set_status_code(status).unwrap();
        let body = response.body().unwrap();
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().unwrap();
        for part in text.as_bytes().chunks(4096) {
            stream.blocking_write_and_flush(part).unwrap();
        }
        if command == "die-answering" {
            panic!("in the middle");
        }
        drop(stream);
        OutgoingBody::finish(body, None).unwrap();
    }
}

fn shown_method(method: &Method) -> String {
    format!("{method:?}")
        .trim_start_matches("Method::")
        .to_uppercase()
}

fn act(command: &str, argument: &str) -> String {
    match command {
        "variable" => shown(variables::get(argument)),
        "read" => {
            std::fs::read_to_string(argument).unwrap_or_else(|error| error.kind().to_string())
        }
        "write" => match std::fs::write(argument, "x") {
            Ok(()) => "written".to_owned(),
            Err(error) => error.kind().to_string(),
        },
        "open" => shown(Store::open(argument).map(|_| "open".to_owned())),
        "get" => shown(
            default_store()
                .get(argument)
                .map(|value| format!("{value:?}")),
        ),
        "set" => {
            let (key, value) = argument.split_once('=').unwrap();
            shown(
                default_store()
                    .set(key, value.as_bytes())
                    .map(|()| "set".to_owned()),
            )
        }
        "fetch" => fetch(argument),
        "print" => {
            print!("{argument}");
            std::io::stdout().flush().unwrap();
            eprintln!("!");
            String::new()
        }
        "log" => {
            eprintln!("{argument}");
            String::new()
        }
        // A run that holds its lease and makes one call after the other.
        "work" => {
            let host = variables::get("host").unwrap();
            let target = if argument.is_empty() {
                host.as_str()
            } else {
                argument
            };
            default_store().set("lease", b"mine").unwrap();
            let mut answers = String::new();
            for _ in 0..100 {
                answers += &fetch(target);
                println!("INFO call ended");
            }
            answers
        }
        "panic" => panic!("as told"),
        "loop" => loop {
            std::hint::black_box(());
        },
        "sleep" => {
            let milliseconds = argument.parse().unwrap_or(60_000);
            println!("sleeping");
            std::thread::sleep(std::time::Duration::from_millis(milliseconds));
            "slept".to_owned()
        }
        "grow" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(vec![1_u8; 1 << 20]);
            }
        }
        _ => format!("no command {command:?}"),
    }
}

fn shown<E: Debug>(result: Result<String, E>) -> String {
    result.unwrap_or_else(|error| format!("{error:?}"))
}

fn default_store() -> Store {
    Store::open("default").unwrap()
}

/// `POST`s to `scheme://authority/path`, with a timeout for each phase in milliseconds behind `~`, or
/// two with a `/` between them, of which the second is that between two pieces of the answer.
fn fetch(argument: &str) -> String {
    let (url, timeouts) = argument.split_once('~').unwrap_or((argument, "30000"));
    let (first, between) = timeouts.split_once('/').unwrap_or((timeouts, timeouts));
    let (scheme, rest) = url.split_once("://").unwrap();
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let scheme = if scheme == "https" {
        Scheme::Https
    } else {
        Scheme::Http
    };
    let request = OutgoingRequest::new(Fields::new());
    request.set_method(&Method::Post).unwrap();
    request.set_scheme(Some(&scheme)).unwrap();
    request.set_authority(Some(authority)).unwrap();
    request
        .set_path_with_query(Some(&format!("/{path}")))
        .unwrap();
    let options = RequestOptions::new();
    let nanoseconds = |text: &str| Some(text.parse::<u64>().unwrap() * 1_000_000);
    options.set_connect_timeout(nanoseconds(first)).unwrap();
    options.set_first_byte_timeout(nanoseconds(first)).unwrap();
    options
        .set_between_bytes_timeout(nanoseconds(between))
        .unwrap();
    let body = request.body().unwrap();
    let response = match outgoing_handler::handle(request, Some(options)) {
        Ok(response) => response,
        Err(error) => return format!("{error:?}"),
    };
    let stream = body.write().unwrap();
    // A refused request has closed it; the response says why.
    let _ = stream.blocking_write_and_flush(b"sent");
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
    response.subscribe().block();
    let response = match response.get().unwrap().unwrap() {
        Ok(response) => response,
        Err(error) => return format!("{error:?}"),
    };
    let mut text = format!("{} ", response.status());
    let body = response.consume().unwrap();
    let stream = body.stream().unwrap();
    loop {
        match stream.blocking_read(4096) {
            Ok(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
            Err(wasi::io::streams::StreamError::Closed) => return text,
            Err(wasi::io::streams::StreamError::LastOperationFailed(error)) => {
                return format!("{text}, then {}", error.to_debug_string());
            }
        }
    }
}
