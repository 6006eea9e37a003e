//! A real Kubernetes on one machine, in namespaces and without a container engine of its own: real etcd, API server,
//! controllers, scheduler and kube-proxy, several clusters side by side.
//!
//! A *light* cluster has pods that are network namespaces with real listeners and a status written by a stand-in for the
//! kubelet; a *full* one has real kubelets and containers. Everything a cluster consists of lives in one private mount
//! and process namespace whose first process is `init`: when that ends, however it ends, the kernel ends every
//! process and unmounts everything, and network namespaces that only exist there go with it. What outlives it are
//! control groups and files, which [`place`] knows and removes.
//!
//! For tests and for trying things; no shipped program uses it. It never explains anything.

#![forbid(unsafe_code)]

pub mod api;
pub mod cli;
mod cluster;
mod components;
pub mod control;
mod control_plane;
mod enforcer;
pub mod fault;
mod full;
mod init;
mod launch;
pub mod light;
pub mod manifest;
mod network;
mod nodes;
mod pki;
pub mod place;
pub mod processes;
pub mod programs;
mod proxy;
mod run;
pub mod spec;

pub use crate::cluster::{Cluster, Pod};
pub use crate::full::images;
pub use place::Place;
pub use spec::{Kind, ProxyMode, Spec};
