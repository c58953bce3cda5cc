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

/// As many nodes as there are different names; beyond it names get a number.
const POOL: usize = CITIES.len() * CARRIERS.len();

/// The node at a place in the endless list of nodes.
pub(crate) fn node(place: usize) -> Node {
    let (city, utc_offset, round_trip) = CITIES
        .get(place % CITIES.len())
        .copied()
        .unwrap_or(("Nowhere", 0.0, 50.0));
    // 16 and 7 have no common divisor, so the first 112 pairs are all different.
    let carrier = CARRIERS
        .get(place % CARRIERS.len())
        .copied()
        .unwrap_or("None");
    let name = match place / POOL {
        0 => format!("{city} - {carrier}"),
        more => format!("{city} - {carrier} {}", more + 1),
    };
    Node {
        id: 257 + 3 * place as u64,
        name,
        utc_offset,
        round_trip,
    }
}
