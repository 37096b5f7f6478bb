//! Mail through an SMTP server.

use super::{LIMIT, Message, Refused, Settings};
use crate::http::install_tls;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

/// The port at which TLS begins at once.
const WRAPPED: u16 = 465;

/// Sends a message. A password is only ever sent over TLS; without one, TLS is used where the server offers it.
pub(super) async fn send(settings: &Settings<'_>, message: &Message) -> Result<(), Refused> {
    install_tls();
    let server = settings.text("server");
    let port = settings.number("port").and_then(|port| u16::try_from(port).ok()).unwrap_or(25);
    let parameters =
        TlsParameters::new(server.to_owned()).map_err(|error| Refused::for_good(error.to_string()))?;
    let password = settings.text("password");
    let tls = match (port, password.is_empty()) {
        (WRAPPED, _) => Tls::Wrapper(parameters),
        (_, false) => Tls::Required(parameters),
        (_, true) => Tls::Opportunistic(parameters),
    };
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server)
        .port(port)
        .tls(tls)
        .timeout(Some(LIMIT));
    if !password.is_empty() {
        transport =
            transport.credentials(Credentials::new(settings.text("user").to_owned(), password.to_owned()));
    }
    match transport.build().send(compose(settings, message)?).await {
        Ok(_) => Ok(()),
        Err(error) => Err(Refused { why: error.to_string(), for_good: error.is_permanent() }),
    }
}

fn compose(settings: &Settings<'_>, message: &Message) -> Result<lettre::Message, Refused> {
    let mailbox = |text: &str| -> Result<Mailbox, Refused> {
        text.parse().map_err(|error| Refused::for_good(format!("`{text}` is no mail address: {error}")))
    };
    let from = match settings.text("from") {
        "" => "Lockstep <lockstep@localhost>",
        from => from,
    };
    // The same for each try, so that a mail program shows a repetition as one.
    let id = format!("<{}@lockstep>", message.key.replace(['/', '[', ']', ' ', '<', '>', '@'], "."));
    let mut mail =
        lettre::Message::builder().from(mailbox(from)?).subject(&message.title).message_id(Some(id));
    for to in settings.list("to") {
        mail = mail.to(mailbox(&to)?);
    }
    let body = if message.text.is_empty() { &message.title } else { &message.text };
    mail.body(format!("{body}\n")).map_err(|error| Refused::for_good(error.to_string()))
}
