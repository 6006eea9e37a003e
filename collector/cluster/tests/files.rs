//! Following files: what a change, a mistake, a removal and a swapped link do to the objects at hand.

#![allow(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use cluster::{Cluster, Source, StartError, now};
use model::{Key, ObjectSet, Timestamp};

const BOUND: Duration = Duration::from_secs(10);

fn service(name: &str, app: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{selector: {{app: {app}}}, ports: [{{port: 80}}]}}\n"
    )
}

fn app(set: &ObjectSet, name: &str) -> Option<String> {
    set.services.get(&Key::new("shop", name)).map(|service| service.selector["app"].clone())
}

fn changed_at(set: &ObjectSet, name: &str) -> Timestamp {
    set.services[&Key::new("shop", name)].meta.changed_at
}

/// Makes a file look as if it was written a minute ago.
fn age(path: &Path) {
    let minute_ago = SystemTime::now() - Duration::from_mins(1);
    fs::File::options().write(true).open(path).unwrap().set_modified(minute_ago).unwrap();
}

async fn start(path: &Path) -> Cluster {
    Cluster::start(Source::Files(vec![path.to_owned()])).await.expect("the files can be read")
}

/// Waits for the objects to fulfil a condition and prints the last state if they never do.
async fn until(cluster: &Cluster, what: &str, holds: impl Fn(&ObjectSet) -> bool) {
    let mut changed = cluster.changed();
    let wait = async {
        while !holds(&cluster.snapshot()) {
            changed.changed().await.expect("the cluster is there");
        }
    };
    let waited = tokio::time::timeout(BOUND, wait).await;
    assert!(waited.is_ok(), "{what}: not within {BOUND:?}; last state: {:#?}", cluster.snapshot());
}

#[tokio::test]
async fn a_changed_object_is_seen_and_only_it_gets_a_new_time() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["api", "cart"] {
        let path = dir.path().join(format!("{name}.yaml"));
        fs::write(&path, service(name, "old")).unwrap();
        age(&path);
    }
    let cluster = start(dir.path()).await;
    assert!(cluster.ready());
    let before = cluster.snapshot();
    let asked = now();
    assert!(changed_at(&before, "api").age_ms(asked) >= 59_000, "first sight is the file's time");

    fs::write(dir.path().join("api.yaml"), service("api", "new")).unwrap();
    until(&cluster, "the new selector", |set| app(set, "api").as_deref() == Some("new")).await;
    let after = cluster.snapshot();
    assert!(changed_at(&after, "api") >= asked);
    assert_eq!(changed_at(&after, "cart"), changed_at(&before, "cart"));
    assert_eq!(app(&before, "api").as_deref(), Some("old"), "a snapshot taken before does not move");
}

#[tokio::test]
async fn a_refused_change_keeps_the_reading_before_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.yaml");
    fs::write(&path, service("api", "old")).unwrap();
    let cluster = start(&path).await;

    fs::write(&path, service("api", "new").replace("apiVersion", "aapiVersion")).unwrap();
    until(&cluster, "the gap", |set| !set.gaps.is_empty()).await;
    let set = cluster.snapshot();
    assert_eq!(app(&set, "api").as_deref(), Some("old"));
    assert!(
        set.gaps[0].why.contains("api.yaml") && set.gaps[0].why.contains("apiVersion"),
        "{}",
        set.gaps[0]
    );
    assert_eq!(cluster.status().problem.as_ref(), Some(&set.gaps[0]));
    assert!(cluster.ready(), "the objects at hand can be answered from");

    fs::write(&path, service("api", "new")).unwrap();
    until(&cluster, "the correction", |set| app(set, "api").as_deref() == Some("new") && set.gaps.is_empty())
        .await;
    assert_eq!(cluster.status().problem, None);
}

#[tokio::test]
async fn objects_of_a_removed_file_go_but_a_removed_path_is_a_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let objects = dir.path().join("objects");
    fs::create_dir(&objects).unwrap();
    for name in ["api", "cart"] {
        fs::write(objects.join(format!("{name}.yaml")), service(name, "x")).unwrap();
    }
    let cluster = start(&objects).await;
    fs::remove_file(objects.join("cart.yaml")).unwrap();
    until(&cluster, "cart to go", |set| app(set, "cart").is_none()).await;
    assert!(app(&cluster.snapshot(), "api").is_some());

    fs::remove_dir_all(&objects).unwrap();
    until(&cluster, "the gap", |set| !set.gaps.is_empty()).await;
    assert!(app(&cluster.snapshot(), "api").is_some(), "what the path held before stays");
}

#[tokio::test]
async fn a_swapped_configmap_volume_is_followed() {
    // kubelet writes a new hidden directory and renames a link over the old one (`atomic_writer.go`).
    let dir = tempfile::tempdir().unwrap();
    for (version, selector) in [("..1", "old"), ("..2", "new")] {
        fs::create_dir(dir.path().join(version)).unwrap();
        fs::write(dir.path().join(version).join("api.yaml"), service("api", selector)).unwrap();
        age(&dir.path().join(version).join("api.yaml"));
    }
    symlink("..1", dir.path().join("..data")).unwrap();
    symlink("..data/api.yaml", dir.path().join("api.yaml")).unwrap();
    let cluster = start(dir.path()).await;
    assert_eq!(app(&cluster.snapshot(), "api").as_deref(), Some("old"));

    symlink("..2", dir.path().join("..data_tmp")).unwrap();
    fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
    until(&cluster, "the swap", |set| app(set, "api").as_deref() == Some("new")).await;
}

#[tokio::test]
async fn the_first_reading_must_succeed() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("api.yaml"), "aapiVersion: v1\nkind: Service\n").unwrap();
    let refused = Cluster::start(Source::Files(vec![dir.path().to_owned()])).await;
    let Err(StartError::Files(error)) = refused else { panic!("expected a refusal, got {refused:?}") };
    assert!(error.to_string().contains("api.yaml"), "{error}");
}

#[tokio::test]
async fn unchanged_files_stay_current() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("api.yaml"), service("api", "x")).unwrap();
    let cluster = start(dir.path()).await;
    let first = cluster.snapshot().current_at;
    let later = tokio::time::timeout(BOUND, async {
        let mut looks = tokio::time::interval(Duration::from_millis(100));
        while cluster.snapshot().current_at <= first {
            looks.tick().await;
        }
    });
    later.await.expect("the time of the objects moves on while their files stay the same");
}
