//! Comparisons with a predicate, and the pseudo mnemonics that name it.

/// The 8 predicates of SSE.
macro_rules! sse {
    ($rest:literal, $row:literal) => {
        concat!("cmp{eq,lt,le,unord,neq,nlt,nle,ord}", $rest, $row, " =n")
    };
}

/// The 32 predicates of AVX, with their short names.
macro_rules! avx {
    ($rest:literal, $row:literal) => {
        concat!(
            "vcmp{eq|eq_oq,lt|lt_os,le|le_os,unord|unord_q,neq|neq_uq,nlt|nlt_us,nle|nle_us,ord|ord_q,",
            "eq_uq,nge|nge_us,ngt|ngt_us,false|false_oq,neq_oq,ge|ge_os,gt|gt_os,true|true_uq,",
            "eq_os,lt_oq,le_oq,unord_s,neq_us,nlt_uq,nle_uq,ord_s,eq_us,nge_uq,ngt_uq,false_os,neq_os,ge_oq,gt_oq,true_us}",
            $rest,
            $row,
            " =n"
        )
    };
}

pub(super) use avx;

/// The integer predicates of AVX-512.
macro_rules! integer {
    ($rest:literal, $row:literal) => {
        concat!("vpcmp{eq,lt,le}", $rest, $row, " =n")
    };
    (not $rest:literal, $row:literal) => {
        concat!("vpcmp{neq,nlt,nle}", $rest, $row, " =04+n")
    };
}

/// The integer predicates of XOP.
macro_rules! xop {
    ($rest:literal, $row:literal) => {
        concat!("vpcom{lt,le,gt,ge,eq,neq,false,true}", $rest, $row, " =n")
    };
}

#[rustfmt::skip]
pub(super) const ROWS: &[&str] = &[
    "cmpps V,Wo,Ib : 0F C2",
    "cmppd V,Wo,Ib : 66 0F C2",
    "cmpss V,Wd,Ib : F3 0F C2",
    "cmpsd V,Wq,Ib : F2 0F C2",
    sse!("ps", " V,Wo : 0F C2"),
    sse!("pd", " V,Wo : 66 0F C2"),
    sse!("ss", " V,Wd : F3 0F C2"),
    sse!("sd", " V,Wq : F2 0F C2"),
    "vcmpps Vx,Hx,Wx,Ib : VEX.NP.0F C2",
    "vcmppd Vx,Hx,Wx,Ib : VEX.66.0F C2",
    "vcmpss V,H,Wd,Ib : VEX.LIG.F3.0F C2",
    "vcmpsd V,H,Wq,Ib : VEX.LIG.F2.0F C2",
    avx!("ps", " Vx,Hx,Wx : VEX.NP.0F C2"),
    avx!("pd", " Vx,Hx,Wx : VEX.66.0F C2"),
    avx!("ss", " V,H,Wd : VEX.LIG.F3.0F C2"),
    avx!("sd", " V,H,Wq : VEX.LIG.F2.0F C2"),
    "vcmpps K,Hx,Wx/4,Ib : EVEX.NP.0F.W0 C2 k sae",
    "vcmppd K,Hx,Wx/8,Ib : EVEX.66.0F.W1 C2 k sae",
    "vcmpss K,H,Wd,Ib : EVEX.LIG.F3.0F.W0 C2 k sae",
    "vcmpsd K,H,Wq,Ib : EVEX.LIG.F2.0F.W1 C2 k sae",
    "vcmpph K,Hx,Wx/2,Ib : EVEX.NP.0F3A.W0 C2 k sae",
    "vcmpsh K,H,Ww,Ib : EVEX.LIG.F3.0F3A.W0 C2 k sae",
    avx!("ps", " K,Hx,Wx/4 : EVEX.NP.0F.W0 C2 k sae"),
    avx!("pd", " K,Hx,Wx/8 : EVEX.66.0F.W1 C2 k sae"),
    avx!("ss", " K,H,Wd : EVEX.LIG.F3.0F.W0 C2 k sae"),
    avx!("sd", " K,H,Wq : EVEX.LIG.F2.0F.W1 C2 k sae"),
    avx!("ph", " K,Hx,Wx/2 : EVEX.NP.0F3A.W0 C2 k sae"),
    avx!("sh", " K,H,Ww : EVEX.LIG.F3.0F3A.W0 C2 k sae"),
    // The dedicated opcodes for equal and greater come before the general one.
    "vpcmpeqb K,Hx,Wx : EVEX.66.0F.WIG 74 k",
    "vpcmpeqw K,Hx,Wx : EVEX.66.0F.WIG 75 k",
    "vpcmpeqd K,Hx,Wx/4 : EVEX.66.0F.W0 76 k",
    "vpcmpeqq K,Hx,Wx/8 : EVEX.66.0F38.W1 29 k",
    "vpcmpgtb K,Hx,Wx : EVEX.66.0F.WIG 64 k",
    "vpcmpgtw K,Hx,Wx : EVEX.66.0F.WIG 65 k",
    "vpcmpgtd K,Hx,Wx/4 : EVEX.66.0F.W0 66 k",
    "vpcmpgtq K,Hx,Wx/8 : EVEX.66.0F38.W1 37 k",
    "vpcmpub K,Hx,Wx,Ib : EVEX.66.0F3A.W0 3E k",
    "vpcmpb K,Hx,Wx,Ib : EVEX.66.0F3A.W0 3F k",
    "vpcmpuw K,Hx,Wx,Ib : EVEX.66.0F3A.W1 3E k",
    "vpcmpw K,Hx,Wx,Ib : EVEX.66.0F3A.W1 3F k",
    "vpcmpud K,Hx,Wx/4,Ib : EVEX.66.0F3A.W0 1E k",
    "vpcmpd K,Hx,Wx/4,Ib : EVEX.66.0F3A.W0 1F k",
    "vpcmpuq K,Hx,Wx/8,Ib : EVEX.66.0F3A.W1 1E k",
    "vpcmpq K,Hx,Wx/8,Ib : EVEX.66.0F3A.W1 1F k",
    integer!("ub", " K,Hx,Wx : EVEX.66.0F3A.W0 3E k"),
    integer!(not "ub", " K,Hx,Wx : EVEX.66.0F3A.W0 3E k"),
    integer!("b", " K,Hx,Wx : EVEX.66.0F3A.W0 3F k"),
    integer!(not "b", " K,Hx,Wx : EVEX.66.0F3A.W0 3F k"),
    integer!("uw", " K,Hx,Wx : EVEX.66.0F3A.W1 3E k"),
    integer!(not "uw", " K,Hx,Wx : EVEX.66.0F3A.W1 3E k"),
    integer!("w", " K,Hx,Wx : EVEX.66.0F3A.W1 3F k"),
    integer!(not "w", " K,Hx,Wx : EVEX.66.0F3A.W1 3F k"),
    integer!("ud", " K,Hx,Wx/4 : EVEX.66.0F3A.W0 1E k"),
    integer!(not "ud", " K,Hx,Wx/4 : EVEX.66.0F3A.W0 1E k"),
    integer!("d", " K,Hx,Wx/4 : EVEX.66.0F3A.W0 1F k"),
    integer!(not "d", " K,Hx,Wx/4 : EVEX.66.0F3A.W0 1F k"),
    integer!("uq", " K,Hx,Wx/8 : EVEX.66.0F3A.W1 1E k"),
    integer!(not "uq", " K,Hx,Wx/8 : EVEX.66.0F3A.W1 1E k"),
    integer!("q", " K,Hx,Wx/8 : EVEX.66.0F3A.W1 1F k"),
    integer!(not "q", " K,Hx,Wx/8 : EVEX.66.0F3A.W1 1F k"),
    "{vpcomb,vpcomw,vpcomd,vpcomq} V,H,Wo,Ib : XOP.128.NP.M8.W0 CC+n",
    "{vpcomub,vpcomuw,vpcomud,vpcomuq} V,H,Wo,Ib : XOP.128.NP.M8.W0 EC+n",
    xop!("b", " V,H,Wo : XOP.128.NP.M8.W0 CC"),
    xop!("w", " V,H,Wo : XOP.128.NP.M8.W0 CD"),
    xop!("d", " V,H,Wo : XOP.128.NP.M8.W0 CE"),
    xop!("q", " V,H,Wo : XOP.128.NP.M8.W0 CF"),
    xop!("ub", " V,H,Wo : XOP.128.NP.M8.W0 EC"),
    xop!("uw", " V,H,Wo : XOP.128.NP.M8.W0 ED"),
    xop!("ud", " V,H,Wo : XOP.128.NP.M8.W0 EE"),
    xop!("uq", " V,H,Wo : XOP.128.NP.M8.W0 EF"),
];
