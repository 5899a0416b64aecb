//! Regulated values in texts, found by their form, their check digits and the words around them.
