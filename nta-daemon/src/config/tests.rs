//! What is read, refused and printed.

use super::*;

fn refused(text: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nta.toml");
    std::fs::write(&path, text).expect("a file");
    Config::load(Some(&path)).expect_err(text).to_string()
}

#[test]
fn unknown_keys_and_wrong_values_are_named() {
    for (text, said) in [
        ("[capture]\ninterfase = []", &["line 2", "interfase"] as &[&str]),
        ("[capture]\nattach = \"bogus\"", &["line 2", "attach", "bogus", "xdp-generic"]),
        ("[capture]\ntcx_order = \"middle\"", &["tcx_order", "middle", "first", "last"]),
        ("[capture]\ninterfaces = [\"a/b\"]", &["interfaces", "a/b"]),
        ("[capture]\npin_path = \"bpf\"", &["capture.pin_path", "absolute"]),
        ("[capture]\nsample = 0", &["capture.sample"]),
        ("[capture]\nmap_memory_mib = 0", &["capture.map_memory_mib", "1 to 65536"]),
        ("[events]\nring_mib = 3", &["events.ring_mib", "power of two"]),
        ("[windows]\nseconds = 0", &["windows.seconds", "is 0"]),
        ("[store]\ndatabase = \"mysql://u:secret@x\"", &["line 2", "database", "mysql", "postgres://"]),
        ("[api]\nlisten = \"localhost\"", &["listen"]),
        ("[sensor]\nname = \"a b\"", &["name", "a b", "1 to 64"]),
        ("[detect.alerting]\nallow = [\"10.0.0.0/40\"]", &["0 to 32"]),
        ("[detect.hygiene]\nclear_after_s = 5", &["line 1", "`hygiene`", "`detect.alerting`"]),
        ("[detect.alerting]\nraise_after = { scan = 2 }", &["`scan`"]),
        ("[detect.beaconing]\nmax_deviation = nan", &["detect.beaconing.max_deviation", "finite"]),
        ("[detect.beaconing]\nmax_deviation = inf", &["detect.beaconing.max_deviation", "finite"]),
    ] {
        let error = refused(text);
        for part in said {
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(!error.contains("secret") && error.lines().count() == 1, "{error}");
    }
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
    let raise_after = std::collections::BTreeMap::from([("port_scan".to_owned(), 2)]);
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
        assert_eq!(again(&config), config, "round {round}");
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
