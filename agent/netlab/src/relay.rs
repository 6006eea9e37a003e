//! A TCP port inside a namespace whose connections are carried to an address outside all labs.
//!
//! For programs under test that must not listen off loopback: an agent in a node's namespace reaches a collector of the
//! test through its own 127.0.0.1.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;

use crate::error::Error;
use crate::listen::{Listen, Socket, Worker, connection_waits};
use crate::netns::Netns;

/// A relay at work; new connections end when this is dropped, carried ones with either side.
#[derive(Debug)]
pub struct Relay {
    _worker: Worker,
}

impl Netns {
    /// Carries connections to `inside` in this namespace on to `outside` in the caller's.
    pub fn relay(&self, inside: SocketAddr, outside: SocketAddr) -> Result<Relay, Error> {
        let (sender, receiver) = mpsc::channel::<TcpStream>();
        let listen = Listen { address: inside, ..Listen::on(inside.port(), "") };
        let worker = Worker::start(self, listen, move |socket, stop| {
            // `Listen::on` is TCP.
            let Socket::Tcp(listener) = socket else { return };
            while connection_waits(&listener, stop) {
                let Ok((stream, _)) = listener.accept() else { continue };
                if stream.set_nonblocking(false).is_err() || sender.send(stream).is_err() {
                    return;
                }
            }
        })?;
        // Started here and not from the accepting thread, so that it is in the caller's namespace.
        thread::spawn(move || {
            for from in receiver {
                let Ok(to) = TcpStream::connect(outside) else { continue };
                if let (Ok(from_too), Ok(to_too)) = (from.try_clone(), to.try_clone()) {
                    thread::spawn(move || carry(from, to));
                    thread::spawn(move || carry(to_too, from_too));
                }
            }
        });
        Ok(Relay { _worker: worker })
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    // Either side's end is the end of this direction.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
