//! The monitoring nodes: where they stand and how far they are from everything.

/// A place that runs tests.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The API's id of the node.
    pub id: u64,
    /// `City - Carrier`, as the API names nodes.
    pub name: String,
    /// Hours from UTC: when people there are awake and the network is busy.
    pub(crate) utc_offset: f64,
    /// Round trip to the tested services at night, in milliseconds.
    pub(crate) round_trip: f64,
}

/// City, hours from UTC, nightly round trip in milliseconds.
const CITIES: [(&str, f64, f64); 16] = [
    ("Los Angeles", -8.0, 24.0),
    ("New York", -5.0, 12.0),
    ("London", 0.0, 31.0),
    ("Frankfurt", 1.0, 36.0),
    ("Singapore", 8.0, 88.0),
    ("Sydney", 10.0, 121.0),
    ("Tokyo", 9.0, 74.0),
    ("Mumbai", 5.5, 97.0),
    ("São Paulo", -3.0, 68.0),
    ("Chicago", -6.0, 16.0),
    ("Paris", 1.0, 33.0),
    ("Johannesburg", 2.0, 104.0),
    ("Toronto", -5.0, 18.0),
    ("Dubai", 4.0, 82.0),
    ("Stockholm", 1.0, 42.0),
    ("Seoul", 9.0, 79.0),
];

const CARRIERS: [&str; 7] = ["TWTC", "Level3", "NTT", "Cogent", "Telia", "AT&T", "Zayo"];

/// The node at a place in the endless list of nodes; 16 and 7 have no common divisor, so the names of
/// the first 112 are all different.
pub(crate) fn node(place: usize) -> Node {
    let city = CITIES.get(place % CITIES.len());
    let carrier = CARRIERS.get(place % CARRIERS.len());
    let (city, utc_offset, round_trip) = city.unwrap_or(&("Nowhere", 0.0, 50.0));
    Node {
        id: 257 + 3 * place as u64,
        name: format!("{city} - {}", carrier.unwrap_or(&"None")),
        utc_offset: *utc_offset,
        round_trip: *round_trip,
    }
}
