//! Writes the output of commands. Control characters are escaped here for all of them: much of the text comes from tokens,
//! Elasticsearch and Redis.

use std::io::{self, ErrorKind, Write};
use std::process::exit;

use elastauth::printable::printable;

/// How a shell reports a program that SIGPIPE ended: 128 and the signal's number.
const EXIT_CLOSED: i32 = 141;

/// Writes one line of the result to standard output.
pub fn line(text: &str) {
    write(&format!("{}\n", printable(text)));
}

/// Writes several lines of the result to standard output.
pub fn lines(text: &str) {
    write(&several(text));
}

/// Writes one line for the operator to standard error. A closed standard error must not keep a command from its work.
pub fn remark(text: &str) {
    let _ = io::stderr().write_all(format!("{}\n", printable(text)).as_bytes());
}

/// Writes several lines for the operator to standard error.
pub fn remarks(text: &str) {
    let _ = io::stderr().write_all(several(text).as_bytes());
}

fn several(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        out.push_str(&printable(line));
        out.push('\n');
    }
    out
}

/// A reader that closes the pipe (`| head -1`) ends the command quietly, as SIGPIPE ends other programs; Rust ignores that
/// signal. Results are written after the work is done, so that nothing is left half done.
fn write(text: &str) {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit(EXIT_CLOSED),
        Err(error) => {
            remark(&format!("elastauth: the result cannot be written: {error}"));
            exit(1);
        }
    }
}
