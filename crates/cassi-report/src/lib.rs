//! Figures, tables and the offline HTML page of a CASSI evaluation.
