//! Tiles.

#[rustfmt::skip]
pub(super) const ROWS: &[&str] = &[
    "ldtilecfg M : VEX.128.NP.0F38.W0 49 /0 bare",
    "sttilecfg M : VEX.128.66.0F38.W0 49 /0 bare",
    "tilerelease : VEX.128.NP.0F38.W0 49 C0",
    "tilezero T : VEX.128.F2.0F38.W0 49",
    "tileloadd T,M : VEX.128.F2.0F38.W0 4B sib bare",
    "tileloaddt1 T,M : VEX.128.66.0F38.W0 4B sib bare",
    "tilestored M,T : VEX.128.F3.0F38.W0 4B sib bare",
    "tdpbf16ps T,t,u : VEX.128.F3.0F38.W0 5C",
    "tdpfp16ps T,t,u : VEX.128.F2.0F38.W0 5C",
    "tdpbssd T,t,u : VEX.128.F2.0F38.W0 5E",
    "tdpbsud T,t,u : VEX.128.F3.0F38.W0 5E",
    "tdpbusd T,t,u : VEX.128.66.0F38.W0 5E",
    "tdpbuud T,t,u : VEX.128.NP.0F38.W0 5E",
    "tcmmimfp16ps T,t,u : VEX.128.66.0F38.W0 6C",
    "tcmmrlfp16ps T,t,u : VEX.128.NP.0F38.W0 6C",
];
