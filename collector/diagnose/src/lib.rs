//! From a case to an explanation: probes, causes, ranking.
