//! The socket: TLS, HTTP/1.1, one task a connection, one blocking thread a request.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use super::answer::{Answer, Body};
use super::api::Api;
use super::call::Call;
use crate::ApiError;

/// The largest body that is read, as on real servers.
const LARGEST_BODY: usize = 3 * 1024 * 1024;

/// How many parts of a stream may wait for a slow client.
const STREAM_BUFFER: usize = 16;

/// Accepts connections until `stop` changes.
pub(super) async fn serve(listener: TcpListener, tls: TlsAcceptor, api: Arc<Api>, mut stop: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        match accepted {
            Ok((socket, _)) => {
                let (tls, api, stop) = (tls.clone(), api.clone(), stop.clone());
                tokio::spawn(async move {
                    if let Err(error) = connection(socket, tls, api, stop).await {
                        tracing::debug!(%error, "a connection ended");
                    }
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: others may be closed in a moment.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(
    socket: tokio::net::TcpStream,
    tls: TlsAcceptor,
    api: Arc<Api>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let stream = tls.accept(socket).await?;
    let service = service_fn(move |request| {
        let api = api.clone();
        async move { Ok::<_, Infallible>(respond(api, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = connection => ended.map_err(io::Error::other),
        _ = stop.changed() => Ok(()),
    }
}

async fn respond(api: Arc<Api>, request: Request<Incoming>) -> Response<Outgoing> {
    let (parts, body) = request.into_parts();
    let answer = match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(body) => {
            let call = Call::new(&parts, body.to_bytes().to_vec());
            tracing::debug!(method = %parts.method, uri = %parts.uri, "request");
            let handled = tokio::task::spawn_blocking(move || api.handle(&call)).await;
            handled.unwrap_or_else(|error| {
                Answer::error(&ApiError::Internal {
                    message: error.to_string(),
                })
            })
        }
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Answer::error(&ApiError::TooLarge { limit: LARGEST_BODY })
        }
        Err(error) => Answer::error(&ApiError::bad_request(format!("the body cannot be read: {error}"))),
    };
    response(answer)
}

fn response(answer: Answer) -> Response<Outgoing> {
    let body = match answer.body {
        Body::Whole(bytes) => Outgoing::Whole(Some(bytes.into())),
        Body::Stream(run) => {
            let (sender, receiver) = mpsc::channel(STREAM_BUFFER);
            let thread = std::thread::Builder::new()
                .name("stream".to_owned())
                .spawn(move || run(sender));
            if let Err(error) = thread {
                tracing::error!(%error, "cannot start a thread for a stream");
            }
            Outgoing::Stream(receiver)
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    for warning in &answer.warnings {
        if let Ok(value) = HeaderValue::from_bytes(&warning_header(warning)) {
            headers.append(header::WARNING, value);
        }
    }
    response
}

/// # Specification
/// RFC 7234, "Warning": code 299, no agent, the text quoted.
fn warning_header(text: &str) -> Vec<u8> {
    let mut value = b"299 - \"".to_vec();
    for character in text.chars().filter(|character| !character.is_control()) {
        if matches!(character, '"' | '\\') {
            value.push(b'\\');
        }
        value.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    value.push(b'"');
    value
}

/// The body of a response.
enum Outgoing {
    Whole(Option<Bytes>),
    Stream(mpsc::Receiver<Vec<u8>>),
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().filter(|b| !b.is_empty()).map(|b| Ok(Frame::data(b)))),
            Self::Stream(receiver) => receiver
                .poll_recv(context)
                .map(|part| part.map(|part| Ok(Frame::data(part.into())))),
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                hyper::body::SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Self::Stream(_) => hyper::body::SizeHint::default(),
        }
    }
}
