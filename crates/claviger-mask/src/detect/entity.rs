//! What can be found.

use std::fmt;

macro_rules! entities {
    ($($(#[doc = $doc:literal])* $name:ident = $word:literal, $on:literal;)*) => {
        /// A kind of regulated value.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Entity {
            $($(#[doc = $doc])* $name,)*
            /// What the pattern with this index among those of the configuration matches.
            Custom(u8),
        }

        impl Entity {
            /// Those that are built in.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name in configuration, record and placeholders. That of a custom one is in [`super::Detectors::name`].
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                    Self::Custom(_) => "custom",
                }
            }

            /// Whether it is looked for unless the configuration says otherwise.
            pub fn is_on_by_default(self) -> bool {
                match self {
                    $(Self::$name => $on,)*
                    Self::Custom(_) => true,
                }
            }
        }
    };
}

entities! {
    /// United States Social Security number.
    Ssn = "ssn", true;
    /// United States Individual Taxpayer Identification Number.
    Itin = "itin", true;
    /// United States Employer Identification Number.
    Ein = "ein", false;
    /// Payment card number (ISO/IEC 7812).
    CreditCard = "credit_card", true;
    /// International Bank Account Number (ISO 13616).
    Iban = "iban", true;
    /// ABA routing transit number.
    AbaRouting = "aba_routing", false;
    /// Bank account number.
    BankAccount = "bank_account", true;
    /// Passport number.
    Passport = "passport", true;
    /// Driver's licence of a state of the United States.
    DriverLicense = "driver_license", true;
    /// National Provider Identifier.
    Npi = "npi", true;
    /// Registration number of the Drug Enforcement Administration.
    Dea = "dea", true;
    /// Medicare Beneficiary Identifier.
    Mbi = "mbi", true;
    /// National Health Service number of the United Kingdom.
    Nhs = "nhs", true;
    /// Email address (RFC 5322).
    Email = "email", false;
    /// Telephone number: North American, international (E.164), or a national one that the words around it give away.
    Phone = "phone", false;
    /// Internet address, version 4 or 6.
    IpAddress = "ip_address", false;
    /// Hardware address (EUI-48, EUI-64).
    MacAddress = "mac_address", false;
    /// User name and password in a URL.
    UrlCredentials = "url_credentials", true;
    /// Address of a cryptocurrency.
    CryptoAddress = "crypto_address", true;
    /// JSON Web Token (RFC 7519).
    Jwt = "jwt", true;
    /// Private key (PEM, RFC 7468).
    PrivateKey = "private_key", true;
    /// Key or token of a cloud or another service.
    CloudKey = "cloud_key", true;
    /// Date of birth.
    DateOfBirth = "date_of_birth", false;
    /// Any URL or domain name.
    Url = "url", false;
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Entity {
    type Err = UnknownEntity;

    fn from_str(text: &str) -> Result<Self, UnknownEntity> {
        Self::ALL.iter().copied().find(|entity| entity.name() == text).ok_or(UnknownEntity)
    }
}

/// No detector is called so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no detector is called so")]
pub struct UnknownEntity;

/// A set of the entities that are built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntitySet(u32);

impl EntitySet {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// All of them.
    pub const ALL: Self = Self(u32::MAX);

    /// Adds one. Custom ones are in no set.
    pub fn insert(&mut self, entity: Entity) {
        self.0 |= Self::bit(entity);
    }

    /// Takes one out.
    pub fn remove(&mut self, entity: Entity) {
        self.0 &= !Self::bit(entity);
    }

    /// Whether it is in the set.
    pub fn contains(self, entity: Entity) -> bool {
        self.0 & Self::bit(entity) != 0
    }

    fn bit(entity: Entity) -> u32 {
        Entity::ALL.iter().position(|other| *other == entity).map_or(0, |place| 1 << place)
    }
}

/// Those that are on by default.
impl Default for EntitySet {
    fn default() -> Self {
        let mut set = Self::NONE;
        Entity::ALL.iter().filter(|entity| entity.is_on_by_default()).for_each(|entity| set.insert(*entity));
        set
    }
}
