//! Telling a story: set the stage, break something, connect for real, ask, and hold the answer against what it must be.

pub mod clusters;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clusters::Turn;
use e2e::stage::{can_run, key};
use e2e::world::{AllEars, Ears, Real, Rendered, World};
use e2e::{Answer, Manifests, Stage, eventually, normalise};
use kubelab::ProxyMode;
use netlab::ConnectOutcome;

/// What a story is played in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// The lab, with rendered rules.
    Lab,
    /// A real Kubernetes, kube-proxy in iptables mode.
    Iptables,
    /// A real Kubernetes, kube-proxy in nftables mode.
    Nftables,
}

/// A faulty cluster about to be asked about; `None` inside where stories cannot run.
pub struct Story {
    setting: Setting,
    name: &'static str,
    files: &'static [&'static str],
    ears: AllEars,
    stage: Option<Stage>,
    skipped: bool,
    // Given back after the stage has gone.
    turn: Option<Turn>,
}

/// What was said.
pub struct Said {
    name: &'static str,
    answer: Option<Answer>,
}

impl Story {
    /// A story with the manifests of these files.
    pub fn new(setting: Setting, name: &'static str, files: &'static [&'static str]) -> Self {
        let skipped = !can_run(name) || setting != Setting::Lab && !clusters::can_run(name);
        Self { setting, name, files, ears: AllEars::new(), stage: None, skipped, turn: None }
    }

    /// Nothing listens in this pod.
    pub fn deaf(mut self, pod: &str) -> Self {
        self.ears.insert(key(pod).unwrap(), Ears::Deaf);
        self
    }

    /// These sockets listen in this pod, and no others.
    pub fn ears(mut self, pod: &str, addresses: &[SocketAddr]) -> Self {
        self.ears.insert(key(pod).unwrap(), Ears::On(addresses.to_vec()));
        self
    }

    /// kube-proxy of this node missed a Service.
    pub fn without_rules_of(self, node: &str, service: &str) -> Self {
        self.on_stage(|stage| stage.world().forget_service(node, &key(service).unwrap()).unwrap())
    }

    /// Waits until no change is so young that kube-proxy is given time to follow it, instead of blame.
    pub fn grows_old(self, source: &str, destination: &str) -> Self {
        self.on_stage(|stage| {
            eventually("no change is young any more", Duration::from_secs(20), || {
                let said = stage.ask(source, destination)?.printed.stdout;
                anyhow::ensure!(!said.contains("kube-proxy follows in a moment"), "{said}");
                Ok(())
            })
            .unwrap();
        })
    }

    /// Somebody set this node's FORWARD policy to DROP.
    pub fn forward_policy_drop(self, node: &str) -> Self {
        self.on_stage(|stage| {
            let netns = stage.world().node(node).unwrap();
            netns.run(&["iptables-nft", "--policy", "FORWARD", "DROP"]).unwrap();
        })
    }

    /// The agent of this node dies.
    pub fn crash_agent(self, node: &str) -> Self {
        self.on_stage(|stage| stage.crash_agent(node).unwrap())
    }

    /// A connection from web/client ends like this.
    pub fn connects(self, to: &str, expected: ConnectOutcome) -> Self {
        self.on_stage(|stage| {
            let result = stage.connect("web/client", to).unwrap();
            assert_eq!(result.outcome, expected, "the fault is not what the story says: {result:?}");
        })
    }

    /// The same, where kube-proxy's modes differ: what nftables mode does comes second.
    pub fn connects_by_mode(self, to: &str, iptables: ConnectOutcome, nftables: ConnectOutcome) -> Self {
        let expected = if self.setting == Setting::Nftables { nftables } else { iptables };
        self.connects(to, expected)
    }

    /// Connects from web/client until the kernel was seen to drop a SYN to each of these addresses.
    pub fn connects_until_dropped(self, to: &str, dropped: &[&str]) -> Self {
        self.on_stage(|stage| {
            let begun = Instant::now();
            loop {
                stage.connect("web/client", to).unwrap();
                let seen = stage.run(&["drops", "-o", "json"]).unwrap().stdout;
                if dropped.iter().all(|address| seen.contains(address)) {
                    return;
                }
                assert!(begun.elapsed() < Duration::from_secs(20), "not all of {dropped:?} in {seen}");
            }
        })
    }

    /// Asks; the text and the JSON answer are held against their snapshots.
    pub fn ask(self, source: &str, destination: &str) -> Said {
        let name = self.name;
        // Quoted rules and where objects were read differ; `settings_agree` holds what must not.
        let quoted = match self.setting {
            Setting::Lab => name.to_owned(),
            Setting::Iptables => format!("{name}.iptables"),
            Setting::Nftables => format!("{name}.nftables"),
        };
        let mut answer = None;
        drop(self.on_stage(|stage| {
            let text = stage.ask_text(source, destination).unwrap();
            let said = stage.ask(source, destination).unwrap();
            assert_eq!(text.code, said.printed.code, "text and JSON disagree about the exit code");
            assert_ne!(said.json, serde_json::Value::Null, "no answer: {}\n{}", said.printed.stderr, stage.logs());
            insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false, omit_expression => true }, {
                insta::assert_snapshot!(format!("{quoted}.text"), normalise::text(&text.stdout));
                insta::assert_json_snapshot!(format!("{quoted}.json"), normalise::json(said.json.clone()));
            });
            answer = Some(said);
        }));
        Said { name, answer }
    }

    /// Does something on the stage, which is set first if it is not yet.
    pub fn on_stage(mut self, act: impl FnOnce(&mut Stage)) -> Self {
        if self.skipped {
            return self;
        }
        if self.stage.is_none() {
            let manifests = Manifests::read(self.files).unwrap();
            let mode = match self.setting {
                Setting::Lab => None,
                Setting::Iptables => Some(ProxyMode::Iptables),
                Setting::Nftables => Some(ProxyMode::Nftables),
            };
            self.turn = mode.map(clusters::take);
            let world: Box<dyn World> = match &self.turn {
                Some(turn) => Box::new(Real::new(turn.cluster.clone())),
                None => Box::new(Rendered::new(self.name, &manifests).unwrap()),
            };
            self.stage = Some(Stage::set(world, manifests, self.ears.clone(), None).unwrap());
        }
        if let Some(stage) = &mut self.stage {
            act(stage);
        }
        self
    }
}

impl Said {
    /// Verdict, certainty and exit code.
    pub fn verdict(self, verdict: &str, certainty: &str, exit: i32) -> Self {
        if let Some(answer) = &self.answer {
            assert_eq!(answer.field("verdict"), verdict, "{}: {}", self.name, answer.printed.stdout);
            assert_eq!(answer.field("certainty"), certainty, "{}: {}", self.name, answer.printed.stdout);
        }
        self.exit(exit)
    }

    /// The exit code alone.
    pub fn exit(self, exit: i32) -> Self {
        if let Some(answer) = &self.answer {
            assert_eq!(answer.printed.code, Some(exit), "{}: {}", self.name, answer.printed.stdout);
        }
        self
    }

    /// The first finding's id.
    pub fn first(self, id: &str) -> Self {
        if let Some(answer) = &self.answer {
            assert_eq!(answer.first_id(), id, "{}: {}", self.name, answer.printed.stdout);
        }
        self
    }

    /// An id that appears among the findings or in what was ruled out.
    pub fn mentions(self, id: &str) -> Self {
        if let Some(answer) = &self.answer {
            let both = ["findings", "ruledOut"]
                .map(|name| answer.json[name].as_array().cloned().unwrap_or_default());
            assert!(
                both.iter().flatten().any(|entry| entry["id"] == id),
                "{}: {}",
                self.name,
                answer.printed.stdout
            );
        }
        self
    }

    /// No finding that touches the connection.
    pub fn no_findings(self) -> Self {
        if let Some(answer) = &self.answer {
            assert_eq!(answer.json["findings"], serde_json::json!([]), "{}", self.name);
        }
        self
    }
}

/// An address and port.
pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
