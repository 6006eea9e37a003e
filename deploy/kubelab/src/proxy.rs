//! Reaching the API server from the machine: a port on loopback whose connections go on inside the control plane's
//! network namespace.
//!
//! The cluster's network is not connected to the machine's, so that clusters with the same addresses do not meet and
//! nothing of the machine's network has to be changed or restored.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result};
use netlab::Netns;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;

/// Takes a free port on the machine's loopback. Done before certificates and kubeconfigs name it.
pub fn listen() -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("take a port for the API server")?;
    listener.set_nonblocking(true).context("take a port for the API server")?;
    let address = listener.local_addr().context("take a port for the API server")?;
    Ok((listener, address))
}

/// Carries connections to `target` inside, on a thread of its own for as long as the process lives.
pub fn carry(listener: TcpListener, netns: Netns, target: SocketAddr) {
    std::thread::spawn(move || {
        // Sockets belong to the namespace in which they are made, so connections are opened on a thread that entered it;
        // the listener keeps its own.
        let carried = netns.enter(|| -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                loop {
                    let (mut from, _) = listener.accept().await?;
                    tokio::task::spawn(async move {
                        // Whichever side fails, the other sees its connection end.
                        if let Ok(mut to) = TcpStream::connect(target).await {
                            let _ = copy_bidirectional(&mut from, &mut to).await;
                        }
                    });
                }
            })
        });
        tracing::error!("the way to the API server ended: {carried:?}");
    });
}
