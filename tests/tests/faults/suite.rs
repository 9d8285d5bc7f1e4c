// Each test passes, but for those whose names say otherwise, where FAULTS is set.
use std::{env, fs, path::Path, process, thread::sleep, time::Duration};

fn faults() -> bool {
    env::var_os("FAULTS").is_some()
}

macro_rules! steady {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            sleep(Duration::from_millis(100));
        }
    )*};
}
steady!(steady0 steady1 steady2 steady3 steady4 steady5);

#[test]
fn fails() {
    assert!(!faults());
}

#[test]
fn aborts() {
    if faults() {
        process::abort();
    }
}

#[test]
fn exits() {
    if faults() {
        process::exit(0);
    }
}

#[test]
fn hangs() {
    while faults() {
        sleep(Duration::from_secs(1));
    }
}

#[test]
fn waits() {
    let gate = env::var("GATE").unwrap();
    fs::write(format!("{gate}.new"), env::current_dir().unwrap().to_str().unwrap()).unwrap();
    fs::rename(format!("{gate}.new"), format!("{gate}.open")).unwrap();
    while !Path::new(&gate).exists() {
        sleep(Duration::from_millis(10));
    }
}
