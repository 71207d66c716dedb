//! Documents: conditions, ranges, codings, folders, sites, disk.

use std::fs;
use std::time::Duration as Wall;

use freeway::Duration;
use freeway_httpd::{Config, Library, LibraryConfig, SiteConfig};

use crate::lab::{Answer, Lab, Plan};

fn bytes(len: u32) -> Vec<u8> {
    (0..len).map(|at| b'a' + (at % 26) as u8).collect()
}

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = root.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    root
}

fn lab(config: LibraryConfig) -> Lab {
    Plan { library: Library::open(config).unwrap(), ..Plan::new(&[]) }.start()
}

#[test]
fn a_client_that_has_the_document_is_told_so() {
    let root = folder(&[("a.txt", b"hello")]);
    let mut lab = lab(LibraryConfig::new(root.path()));
    let first = lab.get("/a.txt", "");
    let (etag, modified) = (first.field("ETag").unwrap(), first.field("Last-Modified").unwrap());
    for (fields, status) in [
        (format!("If-None-Match: {etag}\r\n"), 304),
        (format!("If-Modified-Since: {modified}\r\n"), 304),
        ("If-None-Match: \"other\"\r\n".to_owned(), 200),
        ("If-Match: \"other\"\r\n".to_owned(), 412),
        (format!("If-Match: {etag}\r\n"), 200),
    ] {
        let answer = lab.get("/a.txt", &fields);
        assert_eq!(answer.status, status, "{fields}");
        if status == 304 {
            assert_eq!((answer.field("ETag"), answer.body.as_str()), (Some(etag), ""));
            assert_eq!(answer.field("Content-Length"), None);
        }
    }
}

/// Ranges of a document in memory and of one on disk alike.
#[test]
fn ranges_are_cut_out() {
    let content = bytes(10_000);
    let root = folder(&[("a", &content)]);
    for document_max in [1 << 20, 100] {
        let mut lab = lab(LibraryConfig { document_max, ..LibraryConfig::new(root.path()) });
        let text = String::from_utf8(content.clone()).unwrap();
        for (range, start, end) in
            [("0-99", 0, 100), ("9990-", 9_990, 10_000), ("-1", 9_999, 10_000), ("0-", 0, 10_000)]
        {
            let number = lab.open();
            lab.say(
                number,
                &[format!("GET /a HTTP/1.1\r\nHost: a\r\nRange: bytes={range}\r\n\r\n").as_bytes()],
            );
            let answer = Answer::parse(&await_heard(&mut lab, number, end - start));
            assert_eq!(answer.status, 206, "{range}");
            let expected = format!("bytes {start}-{}/10000", end - 1);
            assert_eq!(answer.field("Content-Range"), Some(expected.as_str()));
            assert_eq!(answer.body, text[start..end], "{range}");
        }
        let answer = lab.get("/a", "Range: bytes=10000-\r\n");
        assert_eq!((answer.status, answer.field("Content-Range")), (416, Some("bytes */10000")));
        let number = lab.open();
        lab.say(number, &[b"GET /a HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1,5000-5001,-1\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n"]);
        let heard = await_heard(&mut lab, number, 480);
        let answer = Answer::parse(&heard);
        let boundary = answer.field("Content-Type").unwrap().split_once("boundary=").unwrap().1.to_owned();
        let len: usize = answer.field("Content-Length").unwrap().parse().unwrap();
        let (parts, rest) = answer.body.split_at(len);
        assert_eq!(Answer::parse(rest).status, 404, "what follows is where the length says");
        let part = |range: &str, text: &str| {
            format!(
                "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {range}/10000\r\n\r\n{text}"
            )
        };
        let expected = [
            part("0-1", &text[..2]),
            part("5000-5001", &text[5_000..5_002]),
            part("9999-9999", &text[9_999..]),
        ]
        .concat();
        assert_eq!(parts, format!("{expected}\r\n--{boundary}--\r\n"));
    }
}

/// Waits for the disk's thread, which has a time of its own.
fn await_heard(lab: &mut Lab, number: usize, body: usize) -> String {
    for _ in 0..2_000 {
        lab.run(Duration::from_millis(2));
        let text = String::from_utf8_lossy(&lab.talk(number).heard).into_owned();
        if text.split_once("\r\n\r\n").is_some_and(|(_, rest)| rest.len() >= body) {
            return lab.heard(number);
        }
        std::thread::sleep(Wall::from_millis(1));
    }
    panic!("heard only {} bytes", lab.talk(number).heard.len());
}

#[test]
fn if_range_holds_for_the_same_document() {
    let root = folder(&[("a", b"0123456789")]);
    let mut lab = lab(LibraryConfig::new(root.path()));
    let etag = lab.get("/a", "").field("ETag").unwrap().to_owned();
    assert_eq!(lab.get("/a", &format!("Range: bytes=0-1\r\nIf-Range: {etag}\r\n")).status, 206);
    assert_eq!(lab.get("/a", "Range: bytes=0-1\r\nIf-Range: \"other\"\r\n").status, 200);
}

#[test]
fn the_coding_that_both_know_is_sent() {
    let root =
        folder(&[("a.css", b"plain"), ("a.css.br", b"brotli"), ("a.css.gz", b"gzip"), ("b.css", b"plain")]);
    let mut lab = lab(LibraryConfig::new(root.path()));
    for (accept, coding, body) in [
        ("br, gzip", Some("br"), "brotli"),
        ("gzip", Some("gzip"), "gzip"),
        ("zstd", None, "plain"),
        ("br;q=0.1, gzip;q=0.2", Some("gzip"), "gzip"),
    ] {
        let answer = lab.get("/a.css", &format!("Accept-Encoding: {accept}\r\n"));
        assert_eq!((answer.field("Content-Encoding"), answer.body.as_str()), (coding, body), "{accept}");
        assert_eq!(answer.field("Vary"), Some("Accept-Encoding"));
        assert_eq!(answer.field("Content-Type"), Some("text/css; charset=utf-8"));
    }
    assert_eq!(lab.get("/a.css", "").body, "plain");
    assert_eq!(lab.get("/b.css", "Accept-Encoding: br\r\n").field("Vary"), None);
}

#[test]
fn folders_sites_and_error_pages() {
    let first = folder(&[("index.html", b"first"), ("sub/index.html", b"sub"), ("404.html", b"<p>none</p>")]);
    let long = bytes(5_000);
    let second = folder(&[("index.html", b"second"), ("404.html", &long)]);
    let mut config = LibraryConfig::new(first.path());
    config.sites.push(SiteConfig { hosts: vec!["B.example".into()], root: second.path().into() });
    let mut lab = lab(config);
    assert_eq!(lab.get("/", "").body, "first");
    assert_eq!(lab.get("http://b.EXAMPLE:8080/", "").body, "second");
    let moved = lab.get("/sub?x=y", "");
    assert_eq!((moved.status, moved.field("Location")), (301, Some("http://a/sub/?x=y")));
    let moved = lab.get("//evil.example/..//sub", "");
    assert_eq!(moved.field("Location"), Some("http://a/evil.example/..//sub/"));
    let absent = lab.get("/absent", "");
    assert_eq!((absent.status, absent.body.as_str()), (404, "<p>none</p>"));
    assert_eq!(absent.field("Content-Type"), Some("text/html; charset=utf-8"));
    // Each site has its own, however long.
    let absent = lab.get("http://b.example/absent", "");
    assert_eq!((absent.status, absent.field("Content-Length")), (404, Some("5000")));
    assert!(absent.body.as_bytes() == long);
    let (head, _) = lab.ask(&[b"HEAD /absent HTTP/1.1\r\nHost: b.example\r\n\r\n"]);
    assert!(head.contains("Content-Length: 5000\r\n") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn a_document_larger_than_memory_comes_from_disk_and_gaps_in_time_do_not_hurt() {
    let content = bytes(700_000);
    let root = folder(&[("large", &content)]);
    let config = LibraryConfig { document_max: 1_000, ..LibraryConfig::new(root.path()) };
    let plan = Plan {
        library: Library::open(config).unwrap(),
        config: Config { disk_buffers: 2, disk_buffer: 8_192, ..Config::default() },
        ..Plan::new(&[])
    };
    let mut lab = plan.start();
    let numbers: Vec<usize> = (0..3).map(|_| lab.open()).collect();
    for &number in &numbers {
        lab.say(number, &[b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"]);
    }
    for number in numbers {
        let heard = await_heard(&mut lab, number, content.len());
        assert!(Answer::parse(&heard).body.as_bytes() == content, "other bytes came");
    }
    assert!(lab.server().counters().disk_reads >= 3 * 700_000 / 8_192);
}

#[test]
fn a_file_that_becomes_shorter_ends_the_connection() {
    let root = folder(&[("large", &bytes(500_000))]);
    let config = LibraryConfig { document_max: 1_000, ..LibraryConfig::new(root.path()) };
    let mut lab = lab(config);
    fs::OpenOptions::new().write(true).open(root.path().join("large")).unwrap().set_len(1_000).unwrap();
    let number = lab.open();
    lab.say(number, &[b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"]);
    for _ in 0..500 {
        lab.run(Duration::from_millis(2));
        if lab.talk(number).is_over {
            break;
        }
        std::thread::sleep(Wall::from_millis(1));
    }
    assert!(lab.talk(number).is_over);
    assert_eq!(lab.server().counters().aborted_file, 1);
}

#[test]
fn a_changed_file_is_served_as_it_is_now_and_a_download_ends_as_it_began() {
    let old = bytes(400_000);
    let root = folder(&[("a", b"one"), ("large", &old)]);
    let mut library = Library::open(LibraryConfig::new(root.path())).unwrap();
    let feed = library.feed();
    let mut lab = Plan::new(&[]).start_with(feed);
    let watching = library.watch().unwrap();
    assert_eq!(lab.get("/a", "").body, "one");
    let number = lab.open();
    lab.talk(number).is_deaf = true;
    lab.say(number, &[b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"]);
    lab.settle();
    fs::write(root.path().join("a"), "two").unwrap();
    fs::remove_file(root.path().join("large")).unwrap();
    let mut body = String::new();
    for _ in 0..500 {
        std::thread::sleep(Wall::from_millis(10));
        body = lab.get("/a", "").body;
        if body == "two" {
            break;
        }
    }
    assert_eq!(body, "two");
    lab.hear_again(number);
    let heard = await_heard(&mut lab, number, old.len());
    assert!(Answer::parse(&heard).body.as_bytes() == old, "a download changed on its way");
    assert_eq!(lab.get("/large", "").status, 404);
    drop(watching);
}

#[test]
fn other_folders_are_served_when_all_of_them_can_be() {
    let (first, second) = (folder(&[("a", b"one")]), folder(&[("a", b"two"), ("b", b"new")]));
    let mut library = Library::open(LibraryConfig::new(first.path())).unwrap();
    let feed = library.feed();
    let mut lab = Plan::new(&[]).start_with(feed);
    let watching = library.watch().unwrap();
    let sites = |root: &std::path::Path| {
        let mut config = LibraryConfig::new(second.path());
        config.sites.push(SiteConfig { hosts: vec!["b.example".into()], root: root.into() });
        config
    };
    assert!(watching.configure(sites(&first.path().join("nothing"))).is_err());
    assert_eq!(lab.get("/a", "").body, "one");
    watching.configure(sites(first.path())).unwrap();
    let mut body = String::new();
    for _ in 0..500 {
        body = lab.get("/a", "").body;
        if body == "two" {
            break;
        }
        std::thread::sleep(Wall::from_millis(10));
    }
    assert_eq!((body.as_str(), lab.get("/b", "").body.as_str()), ("two", "new"));
    let number = lab.open();
    lab.say(number, &[b"GET /a HTTP/1.1\r\nHost: b.example\r\n\r\n"]);
    lab.settle();
    assert!(lab.talk(number).heard.ends_with(b"one"), "the other site");
    // What is followed now is the new folder.
    fs::write(second.path().join("a"), "three").unwrap();
    for _ in 0..500 {
        body = lab.get("/a", "").body;
        if body == "three" {
            break;
        }
        std::thread::sleep(Wall::from_millis(10));
    }
    assert_eq!(body, "three");
}
