//! Questions by the line: one JSON object in, one out, in order. A line that cannot be answered says why and the rest
//! goes on. Public contract of all `--batch` commands.

pub mod packet;
pub mod walk;

use std::io::{self, BufRead, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A question is a few words; a line longer than this is none.
const LINE_MAX: u64 = 64 << 10;

/// A line that could not be answered.
#[derive(Serialize)]
struct Failed<'a> {
    /// The line's `id`, if it could be read that far.
    id: Option<&'a Value>,
    /// Counted from 1.
    line: u64,
    error: String,
}

/// An answer behind its question's `id`.
#[derive(Serialize)]
struct Answered<'a, A> {
    id: &'a Value,
    #[serde(flatten)]
    answer: A,
}

/// Which side broke off.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The lines cannot be read.
    #[error("read lines")]
    Input(#[source] io::Error),
    /// The answers cannot be written.
    #[error("write answers")]
    Output(#[source] io::Error),
}

/// Answers every line. True if all could be answered.
pub fn answer<Q: DeserializeOwned, A: Serialize>(
    mut input: impl BufRead,
    mut out: impl Write,
    mut judge: impl FnMut(Q) -> Result<A, String>,
) -> Result<bool, Broken> {
    let mut all = true;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if input.by_ref().take(LINE_MAX).read_until(b'\n', &mut line).map_err(Broken::Input)? == 0 {
            break;
        }
        let long = line.len() as u64 == LINE_MAX && line.last() != Some(&b'\n');
        if long {
            skip_line(&mut input).map_err(Broken::Input)?;
        }
        let asked = if long {
            Err(format!("longer than {} KiB", LINE_MAX >> 10))
        } else {
            serde_json::from_slice::<Value>(&line).map_err(|error| format!("not JSON: {error}"))
        };
        let id = asked.as_ref().ok().and_then(|asked| asked.get("id")).cloned();
        let said = asked
            .and_then(|asked| serde_json::from_value(asked).map_err(|error| error.to_string()))
            .and_then(&mut judge);
        let text = match said {
            Ok(answer) => {
                serde_json::to_string(&Answered { id: id.as_ref().unwrap_or(&Value::Null), answer })
            }
            Err(error) => {
                all = false;
                serde_json::to_string(&Failed { id: id.as_ref(), line: number, error })
            }
        };
        let text = text.map_err(|error| Broken::Output(error.into()))?;
        writeln!(out, "{text}").map_err(Broken::Output)?;
    }
    out.flush().map_err(Broken::Output)?;
    Ok(all)
}

/// The rest of a line that is too long, without keeping it.
fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let (used, end) = {
            let held = input.fill_buf()?;
            match held.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (held.len(), held.is_empty()),
            }
        };
        input.consume(used);
        if end {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Question {
        number: u32,
    }

    #[derive(Serialize)]
    struct Answer {
        double: u32,
    }

    fn ask(text: &[u8]) -> (bool, String) {
        let mut out = Vec::new();
        let double = |asked: Question| {
            if asked.number == 7 {
                Err("no sevens".to_owned())
            } else {
                Ok(Answer { double: asked.number * 2 })
            }
        };
        let all =
            answer(text, &mut out, double).unwrap_or_else(|_| panic!("reading and writing memory fails"));
        (all, String::from_utf8(out).expect("text"))
    }

    #[test]
    fn a_line_for_each_line_in_order() {
        let long = format!("{{\"id\":9,\"number\":1,\"x\":\"{}\"}}", "x".repeat(70_000));
        let text = format!(
            "{{\"id\":\"a\",\"number\":1}}\n\n{{\"id\":2,\"number\":\"x\"}}\n{{\"number\":3}}\nno\n{long}\n{{\"id\":5,\"number\":7}}\n\
             {{\"id\":null,\"number\":4}}"
        );
        let (all, said) = ask(text.as_bytes());
        assert!(!all);
        let said: Vec<&str> = said.lines().collect();
        assert_eq!(
            said,
            [
                r#"{"id":"a","double":2}"#,
                r#"{"id":null,"line":2,"error":"not JSON: EOF while parsing a value at line 2 column 0"}"#,
                r#"{"id":2,"line":3,"error":"invalid type: string \"x\", expected u32"}"#,
                r#"{"id":null,"double":6}"#,
                r#"{"id":null,"line":5,"error":"not JSON: expected ident at line 1 column 2"}"#,
                r#"{"id":null,"line":6,"error":"longer than 64 KiB"}"#,
                r#"{"id":5,"line":7,"error":"no sevens"}"#,
                r#"{"id":null,"double":8}"#,
            ]
        );
    }

    #[test]
    fn no_lines_are_no_fault() {
        assert_eq!(ask(b""), (true, String::new()));
        assert_eq!(ask(b"{\"id\":1,\"number\":1}\n"), (true, "{\"id\":1,\"double\":2}\n".to_owned()));
    }
}
