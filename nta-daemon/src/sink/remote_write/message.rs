//! Messages of remote-write 1.0, out of the exposition that is served as well.

use std::collections::BTreeSet;

use prost::Message as _;

/// Series of a message: receivers bound its length.
const MOST_SERIES: usize = 2000;
/// The value by which a store knows that a series has ended: a NaN of these bits.
const STALE: u64 = 0x7ff0_0000_0000_0002;

#[derive(Clone, PartialEq, prost::Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// A message as it is sent, and how many samples are in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) body: Vec<u8>,
    pub(super) samples: u64,
}

/// Makes messages of one sensor, and knows which series it has said.
#[derive(Debug)]
pub(super) struct Messages {
    /// What every series has, as a scrape would give it.
    labels: [Label; 2],
    said: BTreeSet<Vec<Label>>,
}

impl Messages {
    pub(super) fn new(sensor: &str) -> Self {
        let labels = [("instance", sensor), ("job", "nta")].map(|(name, value)| label(name, value.to_owned()));
        Self { labels, said: BTreeSet::new() }
    }

    /// The samples of an exposition in the text format at this time in Unix milliseconds; series that are not in it any more end.
    pub(super) fn of(&mut self, exposition: &str, at_ms: i64) -> Vec<Request> {
        let now: Vec<(Vec<Label>, f64)> = exposition.lines().filter_map(|line| self.sample(line)).collect();
        let said = now.iter().map(|(labels, _)| labels.clone()).collect();
        let before = std::mem::replace(&mut self.said, said);
        let gone = before.difference(&self.said).map(|labels| (labels.clone(), f64::from_bits(STALE)));
        requests(&now.into_iter().chain(gone).collect::<Vec<_>>(), at_ms)
    }

    fn sample(&self, line: &str) -> Option<(Vec<Label>, f64)> {
        if line.starts_with('#') {
            return None;
        }
        let (series, value) = line.rsplit_once(' ')?;
        let (name, rest) = series.split_once('{').unwrap_or((series, ""));
        let mut labels = vec![label("__name__", name.to_owned())];
        labels.extend(self.labels.iter().cloned());
        let mut rest = rest.trim_end_matches('}');
        while let Some((name, quoted)) = rest.split_once("=\"") {
            let (value, behind) = unquoted(quoted);
            labels.push(label(name.trim_start_matches(','), value));
            rest = behind;
        }
        labels.sort();
        Some((labels, value.parse().ok()?))
    }
}

/// The text up to the quote that ends it, and what stands behind.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, other)) => value.push(other),
                None => {}
            },
            c => value.push(c),
        }
    }
    (value, "")
}

fn label(name: &str, value: String) -> Label {
    Label { name: name.to_owned(), value }
}

fn requests(samples: &[(Vec<Label>, f64)], timestamp: i64) -> Vec<Request> {
    let request = |samples: &[(Vec<Label>, f64)]| {
        let series = samples.iter().map(|(labels, value)| TimeSeries {
            labels: labels.clone(),
            samples: vec![Sample { value: *value, timestamp }],
        });
        let message = WriteRequest { timeseries: series.collect() }.encode_to_vec();
        // It fails for messages of more than 4 GiB.
        let body = snap::raw::Encoder::new().compress_vec(&message).unwrap_or_default();
        Request { body, samples: samples.len() as u64 }
    };
    samples.chunks(MOST_SERIES).map(request).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a message says: labels as text, and bits of the value.
    fn read(request: &Request) -> Vec<(String, u64)> {
        let bytes = snap::raw::Decoder::new().decompress_vec(&request.body).expect("Snappy");
        let message = WriteRequest::decode(bytes.as_slice()).expect("a message");
        let series = message.timeseries.into_iter().map(|series| {
            let labels: Vec<String> = series.labels.iter().map(|l| format!("{}={}", l.name, l.value)).collect();
            assert!(series.labels.is_sorted() && series.samples.len() == 1 && series.samples[0].timestamp == 7);
            (labels.join(","), series.samples[0].value.to_bits())
        });
        series.collect()
    }

    #[test]
    fn samples_have_the_labels_of_the_exposition_and_those_of_a_scrape() {
        let mut messages = Messages::new("gw");
        let text =
            "# HELP a A.\n# TYPE a gauge\na{z=\"q\\\"\\\\\\n,{}\",b=\"\"} 1.5\nb_bucket{le=\"+Inf\"} 3\nc -Inf\n";
        let [request] = messages.of(text, 7).try_into().expect("one message");
        assert_eq!(request.samples, 3);
        let expected = [
            ("__name__=a,b=,instance=gw,job=nta,z=q\"\\\n,{}", 1.5),
            ("__name__=b_bucket,instance=gw,job=nta,le=+Inf", 3.0),
            ("__name__=c,instance=gw,job=nta", f64::NEG_INFINITY),
        ];
        assert_eq!(read(&request), expected.map(|(labels, value)| (labels.to_owned(), value.to_bits())));
        let [request] = messages.of("c 2\n", 7).try_into().expect("one message");
        let ended: Vec<_> = read(&request).into_iter().filter(|(_, bits)| *bits == STALE).collect();
        assert_eq!(ended.len(), 2, "{ended:?}");
        assert_eq!(messages.of("c 2\n", 7)[0].samples, 1, "once");
        let many: String = (0..MOST_SERIES + 1).map(|n| format!("d{{n=\"{n}\"}} {n}\n")).collect();
        assert_eq!(messages.of(&many, 7).iter().map(|request| request.samples).collect::<Vec<_>>(), [2000, 2]);
    }
}
