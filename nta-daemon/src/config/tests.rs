//! What is read, refused and printed.

use super::*;

fn refused(text: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nta.toml");
    std::fs::write(&path, text).expect("a file");
    let error = Config::load(Some(&path)).expect_err(text).to_string();
    let place = format!("{}:", path.display());
    error.lines().map(|line| line.strip_prefix(&place).expect("the file stands in front").to_owned()).collect()
}

#[test]
fn unknown_keys_and_wrong_values_are_named() {
    for (text, said) in [
        ("[capture]\ninterfase = []", &["2: ", "`interfase` in [capture]", "did you mean `interfaces`?"] as &[&str]),
        ("[captur]\npin = true", &["1: ", "`captur`; did you mean `capture`?"]),
        ("[detect.port_scam]\nmin_ports = 5", &["1: ", "`port_scam` in [detect]; did you mean `port_scan`?"]),
        ("[windows]\ndatabase = \"x\"", &["2: ", "`database` in [windows]; there are seconds"]),
        ("[capture]\nattach = \"bogus\"", &["2: capture.attach", "bogus", "xdp-generic"]),
        ("[capture]\nattach = \"tcxx\"", &["2: capture.attach", "did you mean `tcx`?"]),
        ("[api]\nlisten = \"5000\"", &["2: api.listen: expected ADDRESS:PORT, such as 127.0.0.1:5000", "not \"5000\""]),
        ("[store]\nmax_flows = true", &["2: store.max_flows", "`true`, expected a whole number from 0 on"]),
        ("[capture]\ntcx_order = \"middle\"", &["tcx_order", "middle", "first", "last"]),
        ("[capture]\ninterfaces = [\"a/b\"]", &["2: capture.interfaces", "a/b"]),
        ("[capture]\ninterfaces = [\"a\", \"b\", \"a\"]", &["2: capture.interfaces", "[… a …]", "named once"]),
        ("[capture]\ninterfaces = [\"!*\"]", &["2: capture.interfaces", "!*"]),
        ("[capture]\nvxlan_ports = [4789, 6081]", &["2: capture.vxlan_ports", "6081", "geneve_ports"]),
        ("[store]\nspool = \"\\u0000\"", &["2: store.spool", "folder"]),
        ("[store]\nspool = \"/dev/null/x\"", &["2: store.spool is /dev/null/x", "folder"]),
        ("[capture]\npin_path = \"bpf\"", &["2: capture.pin_path is bpf", "absolute"]),
        ("[capture]\nsample = 0", &["2: capture.sample is 0", "from 1"]),
        ("[capture]\nmap_memory_mib = 0", &["2: capture.map_memory_mib is 0", "from 1 to 65536"]),
        ("[capture]\nmap_memory_mib = -1", &["2: capture.map_memory_mib", "-1"]),
        ("\n[events]\nring_mib = 3", &["3: events.ring_mib is 3", "power of two"]),
        ("[windows]\nseconds = 0", &["2: windows.seconds is 0", "from 1 to 300"]),
        ("windows = { seconds = 301 }", &["1: windows.seconds is 301"]),
        ("windows.seconds = 301", &["1: windows.seconds is 301"]),
        ("windows = 5", &["1: windows", "integer `5`"]),
        ("[store]\ndatabase = \"mysql://u:secret@x\"", &["2: store.database", "mysql", "postgres://"]),
        ("[api]\nlisten = \"localhost\"", &["2: api.listen"]),
        ("[api]\norigins = [\"https://a.example\", \"a.example\"]", &["2: api.origins", "`a.example`", "https://"]),
        ("[api]\nhosts = [\"https://a.example\"]", &["2: api.hosts", "`https://a.example`", "without scheme"]),
        ("[sensor]\nname = \"a b\"", &["name", "a b", "1 to 64"]),
        ("[detect.alerting]\nallow = [\"10.0.0.0/40\"]", &["2: detect.alerting.allow", "0 to 32"]),
        (
            "[detect.alerting]\nallow = [\"10.0.0.1/8\"]",
            &["`10.0.0.1/8`", "10.0.0.0/8 for the network", "10.0.0.1 for the host"],
        ),
        ("[detect.alerting]\nallow = [\"10.0.0.1 scan\"]", &["`scan`", "port_scan, "]),
        (
            "[detect]\nlocal_networks = [\n  \"10.0.0.0/8\",\n  \"intranet\",\n]",
            &["4: detect.local_networks", "`intranet`"],
        ),
        ("[detect]\nlocal_networks = [\"10.0.0.1/8\"]", &["`10.0.0.1/8`", "10.0.0.0/8"]),
        ("[detect.beaconing]\nallowed_destinations = [\"x\"]", &["detect.beaconing.allowed_destinations", "`x`"]),
        ("[detect.beaconing]\nallowed_ports = [65536]", &["detect.beaconing.allowed_ports", "65536"]),
        ("[detect.arp_spoof]\nallowed_macs = [\"02:00\"]", &["detect.arp_spoof.allowed_macs", "`02:00`"]),
        (
            "[detect.dns_tunnel]\nallowed_domains = [\"https://a.example/\"]",
            &["allowed_domains", "`https://a.example/`"],
        ),
        ("[detect.hygiene]\nclear_after_s = 5", &["1: ", "`hygiene`", "`detect.alerting`"]),
        ("[detect.alerting]\nmodel_windows = 6", &["2: ", "`model_windows` is gone"]),
        ("[detect.alerting]\nraise_after = { scan = 2 }", &["`scan`", "port_scan, "]),
        ("[detect.beaconing]\nmax_deviation = nan", &["2: detect.beaconing.max_deviation is nan", "from 0 to 1"]),
        ("[detect.beaconing]\nmax_deviation = inf", &["detect.beaconing.max_deviation is inf"]),
        ("[capture\n", &["1: "]),
        ("[capture]\npin = true\npin = false", &["3: "]),
    ] {
        let errors = refused(text);
        assert_eq!(errors.len(), 1, "{text}: {errors:?}");
        for part in said {
            assert!(errors[0].contains(part), "{text}: {part}: {errors:?}");
        }
        assert!(!errors[0].contains("secret"), "{errors:?}");
    }
}

#[test]
fn everything_that_is_wrong_is_named_in_the_order_of_its_lines() {
    let errors = refused(
        "[windows]\nseconds = 0\nsecond = 5\n\n[capture]\ninterfaces = [\n  \"eth0\",\n  \"a/b\",\n  \"c d\",\n]\n\
         attach = \"bogus\"\n[detect.port_scan]\nmin_failed_share = 1.5\nmin_ports = \"ten\"\n[nothing]\na = 1\nb = 2\n",
    );
    let beginnings = [
        "2: windows.seconds is 0: expected from 1 to 300",
        "3: there is no `second` in [windows]; did you mean `seconds`?",
        "8: capture.interfaces: `a/b`",
        "9: capture.interfaces: `c d`",
        "11: capture.attach: unknown variant `bogus`",
        "13: detect.port_scan.min_failed_share is 1.5: expected from 0 to 1",
        "14: detect.port_scan.min_ports: invalid type: string \"ten\"",
        "15: there is no `nothing`; there are ",
    ];
    assert_eq!(errors.len(), beginnings.len(), "{errors:#?}");
    for (error, beginning) in errors.iter().zip(beginnings) {
        assert!(error.starts_with(beginning), "{error}");
    }
}

#[test]
fn a_file_that_is_something_else_is_refused_in_a_few_lines() {
    let text: String = (0..10_000).map(|number| format!("key_{number} = {number}\n")).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nta.toml");
    std::fs::write(&path, text).expect("a file");
    let error = Config::load(Some(&path)).expect_err("no configuration").to_string();
    assert!(error.lines().count() < 60 && error.ends_with("more"), "{error}");
    std::fs::write(&path, vec![b'#'; (1 << 20) + 1]).expect("a file");
    for (path, said) in [(path.as_path(), "1 MiB"), (Path::new("/dev/zero"), "regular"), (folder.path(), "directory")] {
        let error = Config::load(Some(path)).expect_err("no configuration").to_string();
        assert!(error.contains(said), "{error}");
    }
}

/// Every number of the default configuration, by section and key.
fn all_numbers() -> Vec<(String, bool)> {
    fn walk(key: &str, value: &toml::Value, found: &mut Vec<(String, bool)>) {
        match value {
            toml::Value::Integer(_) => found.push((key.to_owned(), false)),
            toml::Value::Float(_) => found.push((key.to_owned(), true)),
            toml::Value::Table(table) => table.iter().for_each(|(inner, value)| {
                walk(&if key.is_empty() { inner.clone() } else { format!("{key}.{inner}") }, value, found);
            }),
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk("", &toml::Value::try_from(Config::default()).expect("it can be written"), &mut found);
    found
}

#[test]
fn every_number_has_bounds_that_hold_at_both_ends() {
    let numbers = all_numbers();
    let bounds = reference::bounds().expect("bounds");
    let named: Vec<&String> = numbers.iter().map(|(key, _)| key).collect();
    assert_eq!(named.len(), bounds.len(), "{named:?}");
    Config::default().check().expect("the defaults are allowed");
    let line = |key: &str, value: f64, is_float: bool| match is_float {
        true => format!("{key} = {value:?}"),
        false => format!("{key} = {value}"),
    };
    let is_read = |text: &str| {
        let read = file::read(Path::new("nta.toml"), text).map(drop);
        read.map_err(|error| error.to_string())
    };
    for (key, is_float) in &numbers {
        let Bounds { min, max } = *bounds.get(key).unwrap_or_else(|| panic!("{key} has no bounds"));
        let step = |value: f64| if *is_float { value * 1.5 + 0.5 } else { value + 1.0 };
        for wrong in [min - 1.0, step(max)] {
            let error = is_read(&line(key, wrong, *is_float)).expect_err(key);
            assert!(error.starts_with("nta.toml:1: ") && error.contains(key.as_str()), "{key} = {wrong}: {error}");
        }
        let least = is_read(&line(key, min, *is_float));
        assert_eq!(least, Ok(()), "{key}: its smallest");
        // The ring's sizes are powers of two, as its largest is; all others may be their largest.
        assert_eq!(is_read(&line(key, max, *is_float)), Ok(()), "{key}: its largest");
    }
}

#[test]
fn shares_and_probabilities_are_at_most_one() {
    let bounds = reference::bounds().expect("bounds");
    let shares: Vec<&String> = bounds
        .keys()
        .filter(|key| key.ends_with("_share") || key.ends_with("threshold") || key.contains("deviation"))
        .collect();
    assert!(shares.len() >= 12, "{shares:?}");
    for key in shares.into_iter().filter(|key| !key.ends_with("deviations")) {
        assert!(!bounds[key].contains(1.000_001), "{key}");
    }
}

#[test]
fn the_printed_file_says_what_is_allowed() {
    let printed = Config::default().to_toml().expect("it can be printed");
    assert!(printed.contains("# Allowed: from 1 to 300.\nseconds = 5\n"), "{printed}");
    assert_eq!(printed.matches("# Allowed: ").count(), all_numbers().len());
}

/// The configuration, printed and read.
fn again(config: &Config) -> Config {
    let printed = config.to_toml().expect("it can be printed");
    toml::from_str(&printed).unwrap_or_else(|error| panic!("own output: {error}\n{printed}"))
}

#[test]
fn what_is_printed_reads_back_the_same() {
    let mut config = Config::default();
    assert_eq!(again(&config), config);
    config.sensor.name = "gw-1".parse().expect("a name");
    config.capture.interfaces = vec!["eth*".parse().expect("a pattern"), "!wan\"x\"".parse().expect("a pattern")];
    config.capture.attach = Attach::XdpGeneric;
    config.windows.seconds = 10;
    config.detect.alerting.allow = vec!["192.0.2.0/24 port_scan".parse().expect("rule")];
    let raise_after = BTreeMap::from([("port_scan".to_owned(), 2)]);
    config.detect.alerting.raise_after = raise_after.try_into().expect("kinds");
    assert_eq!(again(&config), config);
}

#[test]
fn arbitrary_text_is_printed_so_that_it_reads_back() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..2000 {
        let mut config = Config::default();
        config.model.path = random.text().into();
        config.model.forest = random.text().into();
        config.capture.pin_path = format!("/{}", random.text()).into();
        config.capture.interfaces = (0..4).filter_map(|_| random.text().parse().ok()).collect();
        if let Ok(name) = random.text().parse() {
            config.sensor.name = name;
        }
        if let Ok(url) = format!("postgres://{}", random.text()).parse() {
            config.store.database = url;
        }
        let read = again(&config);
        config.store.database = config.store.database.without_password();
        assert_eq!(read, config, "round {round}");
    }
}

/// A small generator (xorshift64*), the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as u32 % limit
    }

    /// Up to 12 characters: half of them what TOML treats apart, the others from all of Unicode.
    fn text(&mut self) -> String {
        const APART: &[char] =
            &['"', '\'', '\\', '\n', '\r', '\t', '\0', '\u{7f}', '\u{1b}', '#', '=', '[', ']', '{', 'a', '0', ' '];
        let length = self.below(13);
        (0..length)
            .map(|_| match self.below(2) {
                0 => APART[self.below(APART.len() as u32) as usize],
                _ => char::from_u32(self.below(0x11_0000)).unwrap_or('\u{fffd}'),
            })
            .collect()
    }
}
