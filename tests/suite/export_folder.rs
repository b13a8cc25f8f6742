//! The folder that exports go into: what lies there is safe, and every input has exports of its own.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use crate::support::{self, Home, Ran};

/// A home with some texts.
fn with_texts(names: &[&str]) -> Home {
    let home = Home::new();
    for (number, name) in names.iter().enumerate() {
        let path = home.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text(number)).unwrap();
    }
    home
}

fn text(number: usize) -> String {
    format!("Ferry {number} leaves at {number} o'clock.\n")
}

/// The files below a folder, hidden ones too.
fn names(folder: &Path) -> BTreeSet<PathBuf> {
    support::files(folder).into_keys().collect()
}

fn paths(names: &[&str]) -> BTreeSet<PathBuf> {
    names.iter().map(PathBuf::from).collect()
}

async fn process(home: &Home, arguments: &[&str]) -> Ran {
    home.deckle([&["process"], arguments].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_read_is_never_written_over() {
    // Not as an export would have it, so that a replaced one would show.
    let home = with_texts(&["in/memo.md", "in/report.pdf.txt", "other/plan.txt"]);
    let source = "Memo\n====\n\n<table><tr><td>1</td></tr></table>\n";
    fs::write(home.join("in/memo.md"), source).unwrap();
    process(&home, &["in", "--out", "in"]).await.ended(0);
    let all = ["memo.md", "memo.md.json", "memo.md.md", "report.pdf.json", "report.pdf.md", "report.pdf.txt"];
    assert_eq!(names(&home.join("in")), paths(&all));
    assert_eq!(fs::read_to_string(home.join("in/memo.md")).unwrap(), source);
    assert_eq!(fs::read_to_string(home.join("in/report.pdf.txt")).unwrap(), text(1));

    // Its own exports are not what is to be read.
    let again = process(&home, &["in", "--out", "in"]).await.ended(0);
    assert!(again.stdout.contains("2 unchanged in "), "{}", again.stdout);
    assert_eq!(names(&home.join("in")), paths(&all));

    // Under another name, which is the same file.
    fs::create_dir(home.join("out")).unwrap();
    fs::hard_link(home.join("other/plan.txt"), home.join("out/plan.md")).unwrap();
    symlink("../other/plan.txt", home.join("out/plan.json")).unwrap();
    process(&home, &["other", "--out", "out", "--overwrite"]).await.ended(0);
    assert_eq!(fs::read_to_string(home.join("other/plan.txt")).unwrap(), text(2));
    assert_eq!(fs::read_to_string(home.join("out/plan.md")).unwrap(), text(2));
    assert_eq!(names(&home.join("out")), paths(&["plan.json", "plan.md", "plan.txt.json", "plan.txt.md"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_deckle_did_not_write_stays_unless_asked_for() {
    let home = with_texts(&["report.txt", "other.txt"]);
    fs::create_dir(home.join("out")).unwrap();
    fs::write(home.join("out/report.md"), "My own words.").unwrap();
    let arguments = ["report.txt", "other.txt", "--out", "out"];
    let ran = process(&home, &arguments).await.ended(1);
    let complaints: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with("deckle: ")).collect();
    assert!(matches!(complaints[..], [one] if one.contains("out/report.md") && one.contains("--overwrite")), "{ran:?}");
    assert!(ran.stdout.trim_end().ends_with("exports in out, 1 not written"), "{}", ran.stdout);
    assert_eq!(fs::read_to_string(home.join("out/report.md")).unwrap(), "My own words.");
    assert_eq!(names(&home.join("out")), paths(&["other.json", "other.md", "report.json", "report.md"]));

    process(&home, &[&arguments[..], &["--overwrite"]].concat()).await.ended(0);
    assert!(fs::read_to_string(home.join("out/report.md")).unwrap().contains("Ferry 0"));
    // What deckle wrote it may write again; what was changed since is somebody's.
    fs::write(home.join("report.txt"), text(7)).unwrap();
    process(&home, &arguments).await.ended(0);
    assert!(fs::read_to_string(home.join("out/report.md")).unwrap().contains("Ferry 7"));
    fs::write(home.join("out/report.md"), "Ferry 7, which I missed.").unwrap();
    fs::write(home.join("report.txt"), text(8)).unwrap();
    process(&home, &arguments).await.ended(1);
    assert_eq!(fs::read_to_string(home.join("out/report.md")).unwrap(), "Ferry 7, which I missed.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_link_is_not_followed() {
    let home = with_texts(&["in/a.txt", "in/b/c.txt", "victim/kept"]);
    fs::create_dir(home.join("out")).unwrap();
    let victim = home.join("victim/kept");
    for link in ["a.md", ".a.md.part", ".a.json.part"] {
        symlink(&victim, home.join("out").join(link)).unwrap();
    }
    symlink(home.join("victim"), home.join("out/b")).unwrap();
    for more in [&[][..], &["--overwrite"]] {
        let ran = process(&home, &[&["in", "--out", "out"], more].concat()).await.ended(1);
        assert!(ran.stderr.contains("out/b is a link"), "{ran:?}");
        assert_eq!(support::files(&home.join("victim")), [("kept".into(), text(2).into())].into());
        assert_eq!(home.join("out/a.md").is_symlink(), more.is_empty());
    }
    assert!(fs::read_to_string(home.join("out/a.md")).unwrap().contains("Ferry 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_cannot_be_written_stops_no_other() {
    let long = [format!("a{}x.txt", "ü".repeat(124)), format!("a{}y.txt", "ü".repeat(124))];
    let home = with_texts(&[&format!("in/{}", long[0]), &format!("in/{}", long[1]), "in/b.txt", "in/c.txt"]);
    assert_eq!(long[0].len(), 254);
    fs::create_dir_all(home.join("out/b.md")).unwrap();
    let ran = process(&home, &["in", "--out", "out"]).await.ended(1);
    let complaints: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with("deckle: ")).collect();
    assert!(matches!(complaints[..], [one] if one.contains("out/b.md")), "{ran:?}");
    let found = names(&home.join("out"));
    assert_eq!(found.len(), 7, "{found:?}");
    for name in ["b.json", "c.json", "c.md"] {
        assert!(found.contains(Path::new(name)), "{name}: {found:?}");
    }
    let cut = found.iter().filter(|name| name.to_str().unwrap().starts_with("aüü"));
    assert_eq!(cut.filter(|name| name.extension().is_some_and(|ending| ending == "md")).count(), 2, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_input_has_exports_of_its_own() {
    let home = with_texts(&["in/x.txt", "in/x.md", "in/x.txt.md", "one/n.txt", "two/n.txt", "up/two/n.txt"]);
    let ran = process(&home, &["in", "--out", "out"]).await.ended(0);
    assert!(ran.stdout.contains("3 published"), "{}", ran.stdout);
    let of_folder = ["x.md.json", "x.md.md", "x.txt.json", "x.txt.md", "x.txt.md.json", "x.txt.md.md"];
    assert_eq!(names(&home.join("out")), paths(&of_folder));
    for (name, number) in [("x.txt.md", 0), ("x.md.md", 1), ("x.txt.md.md", 2)] {
        let export = fs::read_to_string(home.join("out").join(name)).unwrap();
        assert!(export.contains(&format!("Ferry {number}")), "{name}: {export}");
    }
    // Whatever comes first.
    for (out, order) in [
        ("out-1", ["one/n.txt", "two/n.txt", "up/../up/two/n.txt"]),
        ("out-2", ["up/../up/two/n.txt", "two/n.txt", "one/n.txt"]),
    ] {
        process(&home, &[&order[..], &["--to", "md", "--out", out]].concat()).await.ended(0);
        let wanted = ["one/n.txt.md", "two/n.txt.md", "up/up/two/n.txt.md"];
        assert_eq!(names(&home.join(out)), paths(&wanted));
        for (name, number) in wanted.iter().zip(3..) {
            let export = fs::read_to_string(home.join(out).join(name)).unwrap();
            assert!(export.contains(&format!("Ferry {number}")), "{name}: {export}");
        }
    }
}
