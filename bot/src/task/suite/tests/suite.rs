mod inner {
    #[test]
    fn passes() {
        println!("said by passes");
    }

    #[test]
    fn fails() {
        assert_eq!(1, 2, "one is two");
    }
}

#[test]
#[ignore]
fn ignored() {
    std::process::abort();
}

#[test]
fn imitates_a_summary() {
    println!("running 1 test\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
    panic!("all the same");
}

#[test]
fn aborts() {
    eprintln!("last words");
    std::process::abort();
}

#[test]
fn exits() {
    std::process::exit(0);
}

#[test]
fn exits_as_if_it_had_failed() {
    std::process::exit(101);
}

#[test]
fn hangs() {
    println!("hanging");
    loop {
        std::thread::park();
    }
}

#[test]
fn is_killed() {
    let own = std::process::id().to_string();
    std::process::Command::new("kill").args(["-9", &own]).status().unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
#[should_panic]
fn panics_as_it_should() {
    panic!();
}
