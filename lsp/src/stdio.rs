//! Standard input and output as a connection that outlives messages it cannot read.

use crossbeam_channel::{Sender, unbounded};
use lsp_server::{Connection, Message};
use std::io::{self, BufRead, ErrorKind};
use std::thread::{self, JoinHandle};

/// Starts a thread that reads and one that writes; the writer ends with the connection.
///
/// The channels are unbounded: what is already there can be seen before a check starts, so that only the last of many
/// changes is checked.
pub fn connect() -> (Connection, JoinHandle<io::Result<()>>) {
    let (incoming, receiver) = unbounded();
    let (sender, outgoing) = unbounded::<Message>();
    thread::spawn(move || read(&mut io::stdin().lock(), &incoming));
    let writer = thread::spawn(move || {
        let mut output = io::stdout().lock();
        outgoing.iter().try_for_each(|message| message.write(&mut output))
    });
    (Connection { sender, receiver }, writer)
}

/// Reads messages until `exit`, the end of the input, or nobody wants them.
fn read(input: &mut impl BufRead, incoming: &Sender<Message>) {
    loop {
        match Message::read(input) {
            Ok(Some(message)) => {
                let last = matches!(&message, Message::Notification(it) if it.method == "exit");
                if incoming.send(message).is_err() || last {
                    return;
                }
            }
            // Its bytes are consumed: the next message starts behind them.
            Err(error) if error.kind() == ErrorKind::InvalidData => {}
            Ok(None) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(body: &str) -> String {
        format!("Content-Length: {}\r\n\r\n{body}", body.len())
    }

    #[test]
    fn malformed_messages_are_passed_over() {
        let good = |method: &str| framed(&format!(r#"{{"jsonrpc":"2.0","method":"{method}"}}"#));
        let input = [
            good("first"),
            framed("{"),
            framed(r#"{"jsonrpc":"2.0"}"#),
            framed("[]"),
            good("second"),
            "Nonsense\r\n".into(),
            good("exit"),
            good("after"),
        ];
        let (sender, receiver) = unbounded();
        read(&mut input.concat().as_bytes(), &sender);
        drop(sender);
        let methods: Vec<String> = receiver
            .iter()
            .map(|message| match message {
                Message::Notification(it) => it.method,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(methods, ["first", "second", "exit"]);
    }
}
