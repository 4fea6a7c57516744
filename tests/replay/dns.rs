//! The names that are asked for and what the answers say, against what tshark says of the same captures.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use nta_tests::case::input;
use nta_tests::cases;
use nta_tests::daemon::{collect, run};
use serde_json::Value;

const CASES: [&str; 7] = [
    "demo",
    "dga-hit",
    "dns-search-domains",
    "dns-water-torture",
    "dns_resolver-quiet",
    "dns_tunnel-hit",
    "dns_tunnel-quiet",
];
/// Response codes by number (IANA "Domain Name System (DNS) Parameters").
const CODES: [&str; 6] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];
/// Names that the report lists.
const LISTED: usize = 10;

/// Questions, answers, and these by code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    queries: u64,
    responses: u64,
    codes: BTreeMap<String, u64>,
}

impl Said {
    fn add(&mut self, code: Option<&str>) {
        match code {
            None => self.queries += 1,
            Some(code) => {
                self.responses += 1;
                *self.codes.entry(code.to_owned()).or_default() += 1;
            }
        }
    }

    fn of(value: &Value) -> Self {
        let number = |name: &str| value[name].as_u64().unwrap_or_else(|| panic!("{name} in {value}"));
        let codes = value["codes"].as_object().expect("codes").iter();
        let codes = codes.map(|(code, many)| (code.clone(), many.as_u64().expect("a number"))).collect();
        Self { queries: number("queries"), responses: number("responses"), codes }
    }
}

/// All messages, and those of each name.
fn by_tshark(capture: &Path) -> (Said, BTreeMap<String, Said>) {
    let mut command = Command::new("tshark");
    command.args(["-n", "-Y", "dns && udp && !_ws.malformed && !icmp", "-T", "fields"]);
    command.args(["dns.flags.response", "dns.flags.rcode", "dns.qry.name"].iter().flat_map(|field| ["-e", field]));
    command.arg("-r").arg(capture);
    let output = collect(command, &[]);
    let (mut all, mut names) = (Said::default(), BTreeMap::<String, Said>::new());
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [response, rcode, name] = fields[..] else { panic!("tshark says {line:?}") };
        let code = matches!(response, "1" | "True").then(|| CODES[rcode.parse::<usize>().expect("a code")]);
        all.add(code);
        names.entry(name.to_ascii_lowercase()).or_default().add(code);
    }
    (all, names)
}

#[test]
fn names_and_response_codes_are_those_of_tshark() {
    let test = "names_and_response_codes_are_those_of_tshark";
    if Command::new("tshark").arg("--version").output().is_err() {
        println!("not run: {test}: tshark is not installed");
        return;
    }
    for case in CASES {
        let capture = input(&cases().join(case));
        let ran = run(["replay".as_ref(), "--format".as_ref(), "json".as_ref(), capture.as_os_str()]);
        let dns = ran.json().remove(0)["report"]["dns"].take();
        let (all, names) = by_tshark(&capture);
        assert!(all.queries > 0, "{case}");
        assert_eq!(Said::of(&dns), all, "{case}");
        assert_eq!((dns["malformed"].as_u64(), dns["left_out"].as_u64()), (Some(0), Some(0)), "{case}");
        assert_eq!(dns["names_seen"].as_u64(), Some(names.len() as u64), "{case}");
        let listed = dns["names"].as_array().expect("names");
        assert_eq!(listed.len(), names.len().min(LISTED), "{case}");
        // tshark shows bytes that are no text otherwise.
        let is_text = |name: &&Value| !name["name"].as_str().expect("a name").contains('\\');
        for name in listed.iter().filter(is_text) {
            assert_eq!(Some(&Said::of(name)), names.get(name["name"].as_str().expect("a name")), "{case}: {name}");
        }
        let mut most: Vec<u64> = names.values().map(|said| said.queries).collect();
        most.sort_unstable_by_key(|queries| std::cmp::Reverse(*queries));
        let queries: Vec<u64> = listed.iter().map(|name| Said::of(name).queries).collect();
        assert_eq!(queries, most[..listed.len()], "{case}: those that are asked for most");
    }
}

#[test]
fn the_text_says_what_was_asked_and_answered() {
    let capture = input(&cases().join("dns-search-domains"));
    let ran = run(["replay".as_ref(), capture.as_os_str()]);
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    // tshark -Y 'dns.flags.response == 1' -T fields -e dns.flags.rcode: 200 times 3, 50 times 0.
    for said in ["250 questions, 250 answers", "NXDOMAIN 200, NOERROR 50", "NXDOMAIN 2  api.example.net.cluster.local"]
    {
        assert!(text.contains(said), "{said}: {text}");
    }
    let quiet = run(["replay".as_ref(), input(&cases().join("one-way-download")).as_os_str()]);
    assert!(!String::from_utf8_lossy(&quiet.stdout).contains("DNS over UDP"));
}
