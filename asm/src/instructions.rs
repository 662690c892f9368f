//! One method a mnemonic.
//!
//! Mnemonics with several numbers of operands have methods `name_n` for the less common ones. [`Emit::op`] takes any
//! mnemonic, looked up by name, with operands of which nothing is known before.

use crate::EncodeError;
use crate::plan::emit;
use crate::row::Mnemonic;
use crate::typed::{Absent, Emit, Typed};

/// Defines the methods: plain words are mnemonics, `method = "mnemonic"` where the method has another name.
macro_rules! methods {
    ($($args:tt { $($word:ident)* $(; $($method:ident = $name:literal)*)? })*) => {
        /// The mnemonics that have a method, and with how many operands.
        #[cfg(test)]
        pub(crate) const METHODS: &[(&str, &str)] = &[
            $($((stringify!($args), stringify!($word)),)* $($((stringify!($args), $name),)*)?)*
        ];

        /// Instructions, by mnemonic. Operands are in the manual's order, destination first.
        ///
        /// Where the operands' types say what they are, the form is chosen when the caller is compiled, and only
        /// numbers are left for run time:
        ///
        /// ```
        /// use restub_asm::reg::{EAX, RAX, RBX, RCX, XMM0, XMM1};
        /// use restub_asm::{Builder, Emit, Instructions, Mem, Mnemonic, Operand, ptr};
        ///
        /// let mut code = Builder::new();
        /// code.add(RAX, RBX)?;
        /// code.add(RAX, 5)?;
        /// code.mov(ptr(RBX, 16).dword(), 1)?;
        /// code.vaddps(XMM0, XMM1, ptr(RCX, 0).xmmword())?;
        /// // Operands that are known only when the code runs are checked then.
        /// let source: Operand = Mem::indexed(RBX, RCX, 4, 8).into();
        /// code.mov(EAX, source)?;
        /// let mnemonic = Mnemonic::named(b"sub").ok_or("no such mnemonic")?;
        /// code.op(mnemonic, &[RAX.into(), 1.into()])?;
        /// assert!(code.mov(RAX, Operand::from(EAX)).is_err());
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        ///
        /// Types that no form takes do not compile:
        ///
        /// ```compile_fail
        /// use restub_asm::reg::{EAX, RBX};
        /// use restub_asm::{Builder, Instructions};
        /// Builder::new().add(EAX, RBX).unwrap();
        /// ```
        ///
        /// Neither does memory of which nobody says the size:
        ///
        /// ```compile_fail
        /// use restub_asm::reg::RBX;
        /// use restub_asm::{Builder, Instructions, ptr};
        /// Builder::new().mov(ptr(RBX, 0), 1).unwrap();
        /// ```
        ///
        /// The bytes are those of the text assembler. Where a value has a form of its own (`add eax, 1000` in five
        /// bytes, `shl eax, 1`), the form is chosen when the code runs, as it is for [`Emit::op`].
        pub trait Instructions: Emit {
            $($(methods!(@one $args $word (stringify!($word)));)* $($(methods!(@one $args $method ($name));)*)?)*
        }
    };
    (@one [] $method:ident ($name:expr)) => { methods!(@method $method $name; ; Absent, Absent, Absent, Absent, Absent); };
    (@one [a] $method:ident ($name:expr)) => { methods!(@method $method $name; a A; a, Absent, Absent, Absent, Absent); };
    (@one [a b] $method:ident ($name:expr)) => { methods!(@method $method $name; a A b B; a, b, Absent, Absent, Absent); };
    (@one [a b c] $method:ident ($name:expr)) => { methods!(@method $method $name; a A b B c C; a, b, c, Absent, Absent); };
    (@one [a b c d] $method:ident ($name:expr)) => { methods!(@method $method $name; a A b B c C d D; a, b, c, d, Absent); };
    (@one [a b c d e] $method:ident ($name:expr)) => { methods!(@method $method $name; a A b B c C d D e E; a, b, c, d, e); };
    (@method $method:ident $name:expr; $($arg:ident $type:ident)*; $($operand:expr),*) => {
        #[doc = concat!("`", $name, "`")]
        ///
        /// # Errors
        /// As [`crate::encode`].
        #[inline(always)]
        fn $method<$($type: Typed),*>(&mut self, $($arg: $type),*) -> Result<(), EncodeError> {
            emit::<{ Mnemonic::constant($name).0 }, _, _, _, _, _, _>(self, ($($operand),*))
        }
    };
}

impl<S: Emit> Instructions for S {}

#[rustfmt::skip]
methods! {
    [] {
        movsb movsw pushf pushfq pushfw popf popfq popfw leave leavew movsd movsq cmpsb cmpsw cmpsd cmpsq stosb stosw
        stosd stosq lodsb lodsw lodsd lodsq scasb scasw scasd scasq insb insw insd outsb outsw outsd xlat xlatb cbtw
        cbw cwtl cwde cltq cdqe cwtd cwd cltd cdq cqto cqo lahf sahf clc stc cmc cld std nop pause xend xtest ret
        retw lret retf lretw retfw lretq retfq iret iretd iretw iretq int3 int1 syscall sysret sysretl sysretq
        sysenter sysexit sysexitl sysexitq ud2 ud2a endbr32 endbr64 uiret erets eretu hlt cli sti wait fwait cpuid
        rsm clts invd wbinvd wbnoinvd wrmsr rdtsc rdmsr rdpmc rdtscp swapgs xgetbv xsetbv clac stac wrmsrns rdmsrlist
        wrmsrlist pbndkb rdpkru wrpkru serialize xsusldtrk xresldtrk pconfig enclv encls enclu clui stui testui
        seamret seamops seamcall tdcall getsec monitor mwait monitorx mwaitx clzero lfence mfence sfence saveprevssp
        setssbsy vmcall vmlaunch vmresume vmxoff vmfunc vmrun vmmcall vmgexit vmload vmsave stgi clgi skinit invlpga
        invlpgb tlbsync rdpru mcommit rmpquery rmpadjust rmpupdate psmash pvalidate xstore xstorerng xcryptecb
        xcryptcbc xcryptctr xcryptcfb xcryptofb montmul xsha1 xsha256 ccs_hash ccs_encrypt fcompp fucompp ftst fxam
        fld1 fldl2t fldl2e fldpi fldlg2 fldln2 fldz fchs fabs f2xm1 fyl2x fptan fpatan fxtract fprem1 fdecstp fincstp
        fprem fyl2xp1 fsqrt fsincos frndint fscale fsin fcos fnop fninit finit fnclex fclex fneni feni fndisi fdisi
        fnsetpm fsetpm emms vzeroupper vzeroall femms tilerelease
        ;
        fxch_0 = "fxch" faddp_0 = "faddp" fmulp_0 = "fmulp" fsubp_0 = "fsubp" fsubrp_0 = "fsubrp" fdivp_0 = "fdivp"
        fdivrp_0 = "fdivrp" fcom_0 = "fcom" fcomp_0 = "fcomp" fucom_0 = "fucom" fucomp_0 = "fucomp"
        fucomi_0 = "fucomi" fcomi_0 = "fcomi" fucomip_0 = "fucomip" fucompi_0 = "fucompi" fcomip_0 = "fcomip"
        fcompi_0 = "fcompi" fnstsw_0 = "fnstsw" fstsw_0 = "fstsw"
    }
    [a] {
        seto setno setb setc setnae setae setnb setnc sete setz setne setnz setbe setna seta setnbe sets setns setp
        setpe setnp setpo setl setnge setge setnl setle setng setg setnle push pop inc dec not neg mul div idiv
        cmpxchg8b cmpxchg16b bswap rdrand rdseed jmp call jo jno jb jc jnae jae jnb jnc je jz jne jnz jbe jna ja jnbe
        js jns jp jpe jnp jpo jl jnge jge jnl jle jng jg jnle loopne loopnz loope loopz jrcxz jecxz xbegin xabort int
        senduipi hreset umonitor umwait tpause sldt str lldt ltr verr verw lkgs sgdt sidt lgdt lidt smsw lmsw invlpg
        rdpid rdfsbase rdgsbase wrfsbase wrgsbase ptwrite fxsave fxsave64 fxrstor fxrstor64 ldmxcsr stmxcsr xsave
        xsave64 xrstor xrstor64 xsaveopt xsaveopt64 xrstors xrstors64 xsavec xsavec64 xsaves xsaves64 clflush
        clflushopt clwb cldemote prefetchnta prefetcht0 prefetcht1 prefetcht2 prefetchit1 prefetchit0 prefetch
        prefetchw prefetchwt1 incsspd incsspq rdsspd rdsspq rstorssp clrssbsy vmptrld vmptrst vmclear vmxon
        aesencwide128kl aesdecwide128kl aesencwide256kl aesdecwide256kl fld fild fst fist fstp fstpnce fistp fisttp
        fbld fbstp fxch fiadd fimul ficom ficomp fisub fisubr fidiv fidivr fcom fcomp fucom fucomp ffree ffreep fldcw
        fnstcw fstcw fnstsw fstsw fldenv fnstenv fstenv frstor fnsave fsave vldmxcsr vstmxcsr llwpcb slwpcb
        vgatherpf0dps vgatherpf0dpd vgatherpf1dps vgatherpf1dpd vscatterpf0dps vscatterpf0dpd vscatterpf1dps
        vscatterpf1dpd vgatherpf0qps vgatherpf0qpd vgatherpf1qps vgatherpf1qpd vscatterpf0qps vscatterpf0qpd
        vscatterpf1qps vscatterpf1qpd ldtilecfg sttilecfg tilezero pushp popp jmpabs setzuo setzuno setzub setzuc
        setzunae setzuae setzunb setzunc setzue setzuz setzune setzunz setzube setzuna setzua setzunbe setzus setzuns
        setzup setzupe setzunp setzupo setzul setzunge setzuge setzunl setzule setzung setzug setzunle prefetchrst2
        ;
        imul_1 = "imul" rol_1 = "rol" ror_1 = "ror" rcl_1 = "rcl" rcr_1 = "rcr" shl_1 = "shl" sal_1 = "sal"
        shr_1 = "shr" sar_1 = "sar" stosb_1 = "stosb" stosw_1 = "stosw" stosd_1 = "stosd" stosq_1 = "stosq"
        lodsb_1 = "lodsb" lodsw_1 = "lodsw" lodsd_1 = "lodsd" lodsq_1 = "lodsq" scasb_1 = "scasb" scasw_1 = "scasw"
        scasd_1 = "scasd" scasq_1 = "scasq" nop_1 = "nop" loop_ = "loop" ret_1 = "ret" retw_1 = "retw" lret_1 = "lret"
        retf_1 = "retf" lretw_1 = "lretw" retfw_1 = "retfw" lretq_1 = "lretq" retfq_1 = "retfq" vmrun_1 = "vmrun"
        vmload_1 = "vmload" vmsave_1 = "vmsave" skinit_1 = "skinit" fadd_1 = "fadd" fmul_1 = "fmul" faddp_1 = "faddp"
        fmulp_1 = "fmulp" fsub_1 = "fsub" fsubr_1 = "fsubr" fdiv_1 = "fdiv" fdivr_1 = "fdivr" fsubp_1 = "fsubp"
        fsubrp_1 = "fsubrp" fdivp_1 = "fdivp" fdivrp_1 = "fdivrp" fucomi_1 = "fucomi" fcomi_1 = "fcomi"
        fucomip_1 = "fucomip" fucompi_1 = "fucompi" fcomip_1 = "fcomip" fcompi_1 = "fcompi" xlat_1 = "xlat"
        xlatb_1 = "xlatb"
    }
    [a b] {
        mov movabs movzx movsx movsxd movbe cmovo cmovno cmovb cmovc cmovnae cmovae cmovnb cmovnc cmove cmovz cmovne
        cmovnz cmovbe cmovna cmova cmovnbe cmovs cmovns cmovp cmovpe cmovnp cmovpo cmovl cmovnge cmovge cmovnl cmovle
        cmovng cmovg cmovnle enter enterw add or adc sbb and sub xor cmp test imul lea xchg xadd cmpxchg rol ror rcl
        rcr shl sal shr sar bt bts btr btc bsf bsr popcnt tzcnt lzcnt crc32 adcx adox blsr blsmsk blsi aadd aand aor
        axor movdiri movdir64b movs cmps stos lods scas out ud0 ud1 ud2b lar lsl lss lfs lgs invpcid enqcmd enqcmds
        wrssd wrssq wrussd wrussq vmread vmwrite invept invvpid loadiwkey encodekey128 encodekey256 aesenc128kl
        aesdec128kl aesenc256kl aesdec256kl bndmk bndmov bndcl bndcu bndcn bndldx bndstx fcmovb fcmove fcmovbe fcmovu
        fcmovnb fcmovne fcmovnbe fcmovnu fadd fmul faddp fmulp fsub fsubr fdiv fdivr fsubp fsubrp fdivp fdivrp fucomi
        fcomi fucomip fucompi fcomip fcompi movd movq punpcklbw punpcklwd punpckldq packsswb pcmpgtb pcmpgtw pcmpgtd
        packuswb punpckhbw punpckhwd punpckhdq packssdw pcmpeqb pcmpeqw pcmpeqd psrlw psrld psrlq paddq pmullw psubusb
        psubusw pminub pand paddusb paddusw pmaxub pandn pavgb psraw psrad pavgw pmulhuw pmulhw psubsb psubsw pminsw
        por paddsb paddsw pmaxsw pxor psllw pslld psllq pmuludq pmaddwd psadbw psubb psubw psubd psubq paddb paddw
        paddd punpcklqdq punpckhqdq psrldq pslldq maskmovq maskmovdqu pmovmskb movntq movnti movups movaps movupd
        movapd movss movlps movhlps movhps movlhps movlpd movhpd movsldup movshdup movddup movntps movntpd movntdq
        movdqa movdqu movq2dq movdq2q lddqu movmskps movmskpd unpcklps unpckhps unpcklpd unpckhpd sqrtps rsqrtps rcpps
        andps andnps orps xorps addps mulps subps minps divps maxps sqrtpd andpd andnpd orpd xorpd addpd mulpd subpd
        minpd divpd maxpd sqrtss rsqrtss rcpss addss mulss subss minss divss maxss sqrtsd addsd mulsd subsd minsd
        divsd maxsd addsubpd addsubps haddpd hsubpd haddps hsubps ucomiss comiss ucomisd comisd cvtpi2ps cvtpi2pd
        cvtsi2ss cvtsi2sd cvttps2pi cvttpd2pi cvttss2si cvttsd2si cvtps2pi cvtpd2pi cvtss2si cvtsd2si cvtps2pd
        cvtpd2ps cvtss2sd cvtsd2ss cvtdq2ps cvtps2dq cvttps2dq cvttpd2dq cvtdq2pd cvtpd2dq pshufb phaddw phaddd
        phaddsw pmaddubsw phsubw phsubd phsubsw psignb psignw psignd pmulhrsw pabsb pabsw pabsd ptest pmovsxbw
        pmovsxwd pmovsxdq pmovsxbd pmovsxbq pmovsxwq pmuldq pcmpeqq movntdqa packusdw pmovzxbw pmovzxbd pmovzxbq
        pmovzxwd pmovzxwq pmovzxdq pcmpgtq pminsb pminsd pminuw pminud pmaxsb pmaxsd pmaxuw pmaxud pmulld phminposuw
        movntss movntsd pclmullqlqdq pclmulhqlqdq pclmullqhqdq pclmulhqhqdq aesimc aesenc aesenclast aesdec aesdeclast
        sha1nexte sha1msg1 sha1msg2 sha256msg1 sha256msg2 gf2p8mulb vmovups vmovupd vmovaps vmovapd vmovdqa vmovdqu
        vmovss vmovsd vmovd vmovq vmovsldup vmovshdup vmovddup vmovntps vmovntpd vmovntdq vmovntdqa vlddqu vmovmskps
        vmovmskpd vpmovmskb vmaskmovdqu vsqrtps vrsqrtps vrcpps vsqrtpd vucomiss vcomiss vucomisd vcomisd vcvttss2si
        vcvtss2si vcvttsd2si vcvtsd2si vcvtps2pd vcvtpd2ps vcvtdq2ps vcvtps2dq vcvttps2dq vcvttpd2dq vcvtdq2pd
        vcvtpd2dq vcvtph2ps vbcstnebf162ps vbcstnesh2ps vcvtneebf162ps vcvtneeph2ps vcvtneobf162ps vcvtneoph2ps
        vcvtneps2bf16 vpabsb vpabsw vpabsd vptest vtestps vtestpd vpmovsxbw vpmovsxbd vpmovsxbq vpmovsxwd vpmovsxwq
        vpmovsxdq vpmovzxbw vpmovzxbd vpmovzxbq vpmovzxwd vpmovzxwq vpmovzxdq vphminposuw vbroadcastss vbroadcastsd
        vbroadcastf128 vbroadcasti128 vpbroadcastb vpbroadcastw vpbroadcastd vpbroadcastq vaesimc vsha512msg1
        vsha512msg2 kmovb kmovw kmovd kmovq knotb knotw knotd knotq kortestb kortestw kortestd kortestq ktestb ktestw
        ktestd ktestq urdmsr uwrmsr pi2fw pi2fd pf2iw pf2id pfnacc pfpnacc pfcmpge pfmin pfrcp pfrsqrt pfsub pfadd
        pfcmpgt pfmax pfrcpit1 pfrsqit1 pfsubr pfacc pfcmpeq pfmul pfrcpit2 pmulhrw pswapd pavgusb vfrczps vfrczpd
        vfrczss vfrczsd vphaddbw vphaddbd vphaddbq vphaddwd vphaddwq vphadddq vphaddubw vphaddubd vphaddubq vphadduwd
        vphadduwq vphaddudq vphsubbw vphsubwd vphsubdq blcfill blsfill blcs tzmsk blcic blsic t1mskc blcmsk blci
        cmpeqps cmpltps cmpleps cmpunordps cmpneqps cmpnltps cmpnleps cmpordps cmpeqpd cmpltpd cmplepd cmpunordpd
        cmpneqpd cmpnltpd cmpnlepd cmpordpd cmpeqss cmpltss cmpless cmpunordss cmpneqss cmpnltss cmpnless cmpordss
        cmpeqsd cmpltsd cmplesd cmpunordsd cmpneqsd cmpnltsd cmpnlesd cmpordsd vmovdqa32 vmovdqa64 vmovdqu32 vmovdqu64
        vmovdqu8 vmovdqu16 vrcp14ps vrcp14pd vrsqrt14ps vrsqrt14pd vexp2ps vexp2pd vrcp28ps vrcp28pd vrsqrt28ps
        vrsqrt28pd vgetexpps vgetexppd vcvttss2usi vcvttsd2usi vcvtss2usi vcvtsd2usi vcvtqq2ps vcvtqq2pd vcvttps2udq
        vcvttpd2udq vcvtps2udq vcvtpd2udq vcvttps2uqq vcvttpd2uqq vcvtps2uqq vcvtpd2uqq vcvttps2qq vcvttpd2qq
        vcvtps2qq vcvtpd2qq vcvtudq2pd vcvtuqq2pd vcvtudq2ps vcvtuqq2ps vbroadcastf32x2 vbroadcastf32x4
        vbroadcastf64x2 vbroadcastf32x8 vbroadcastf64x4 vcompressps vcompresspd vexpandps vexpandpd vpscatterdd
        vscatterdps vpscatterdq vscatterdpd vpscatterqd vscatterqps vpscatterqq vscatterqpd vpabsq vplzcntd vplzcntq
        vpconflictd vpconflictq vpopcntb vpopcntw vpopcntd vpopcntq vpmovm2b vpmovm2w vpmovm2d vpmovm2q vpmovb2m
        vpmovw2m vpmovd2m vpmovq2m vpbroadcastmb2q vpbroadcastmw2d vpmovuswb vpmovusdb vpmovusqb vpmovusdw vpmovusqw
        vpmovusqd vpmovswb vpmovsdb vpmovsqb vpmovsdw vpmovsqw vpmovsqd vpmovwb vpmovdb vpmovqb vpmovdw vpmovqw
        vpmovqd vbroadcasti32x2 vbroadcasti32x4 vbroadcasti64x2 vbroadcasti32x8 vbroadcasti64x4 vpcompressb
        vpcompressw vpcompressd vpcompressq vpexpandb vpexpandw vpexpandd vpexpandq vsqrtph vucomish vcomish vmovsh
        vmovw vrcpph vrsqrtph vgetexpph vcvttsh2si vcvtsh2si vcvttsh2usi vcvtsh2usi vcvtph2pd vcvtph2psx vcvtps2phx
        vcvtpd2ph vcvtdq2ph vcvtudq2ph vcvtqq2ph vcvtuqq2ph vcvtph2dq vcvttph2dq vcvtph2udq vcvttph2udq vcvtph2qq
        vcvttph2qq vcvtph2uqq vcvttph2uqq vcvtph2w vcvttph2w vcvtph2uw vcvttph2uw vcvtw2ph vcvtuw2ph tileloadd
        tileloaddt1 tilestored push2 push2p pop2 pop2p cfcmovo cfcmovno cfcmovb cfcmovc cfcmovnae cfcmovae cfcmovnb
        cfcmovnc cfcmove cfcmovz cfcmovne cfcmovnz cfcmovbe cfcmovna cfcmova cfcmovnbe cfcmovs cfcmovns cfcmovp
        cfcmovpe cfcmovnp cfcmovpo cfcmovl cfcmovnge cfcmovge cfcmovnl cfcmovle cfcmovng cfcmovg cfcmovnle ccmpo
        ccmpno ccmpb ccmpc ccmpnae ccmpae ccmpnb ccmpnc ccmpe ccmpz ccmpne ccmpnz ccmpbe ccmpna ccmpa ccmpnbe ccmps
        ccmpns ccmpt ccmpf ccmpl ccmpnge ccmpge ccmpnl ccmple ccmpng ccmpg ccmpnle ctesto ctestno ctestb ctestc
        ctestnae ctestae ctestnb ctestnc cteste ctestz ctestne ctestnz ctestbe ctestna ctesta ctestnbe ctests ctestns
        ctestt ctestf ctestl ctestnge ctestge ctestnl ctestle ctestng ctestg ctestnle tileloaddrs tileloaddrst1 movrs
        vsqrtbf16 vcomisbf16 vgetexpbf16 vrcpbf16 vrsqrtbf16 vucomxss vcomxss vucomxsd vcomxsd vucomxsh vcomxsh
        vcvthf82ph vcvtph2bf8 vcvtph2bf8s vcvtph2hf8 vcvtph2hf8s vcvttph2ibs vcvttph2iubs vcvttps2ibs vcvttps2iubs
        vcvttbf162ibs vcvttbf162iubs vcvtph2ibs vcvtph2iubs vcvtps2ibs vcvtps2iubs vcvtbf162ibs vcvtbf162iubs
        vcvttps2udqs vcvttps2dqs vcvttpd2uqqs vcvttpd2qqs vcvttps2uqqs vcvttps2qqs vcvttpd2udqs vcvttpd2dqs
        vcvttss2usis vcvttss2sis vcvttsd2usis vcvttsd2sis vmovrsb vmovrsw vmovrsd vmovrsq
        ;
        movsb_2 = "movsb" movsw_2 = "movsw" inc_2 = "inc" dec_2 = "dec" not_2 = "not" neg_2 = "neg" div_2 = "div"
        idiv_2 = "idiv" shld_2 = "shld" shrd_2 = "shrd" movsd_2 = "movsd" movsq_2 = "movsq" cmpsb_2 = "cmpsb"
        cmpsw_2 = "cmpsw" cmpsd_2 = "cmpsd" cmpsq_2 = "cmpsq" stosb_2 = "stosb" stosw_2 = "stosw" stosd_2 = "stosd"
        stosq_2 = "stosq" lodsb_2 = "lodsb" lodsw_2 = "lodsw" lodsd_2 = "lodsd" lodsq_2 = "lodsq" scasb_2 = "scasb"
        scasw_2 = "scasw" scasd_2 = "scasd" scasq_2 = "scasq" insb_2 = "insb" insw_2 = "insw" insd_2 = "insd"
        outsb_2 = "outsb" outsw_2 = "outsw" outsd_2 = "outsd" in_ = "in" mwait_2 = "mwait" invlpga_2 = "invlpga"
        pblendvb_2 = "pblendvb" blendvps_2 = "blendvps" blendvpd_2 = "blendvpd" extrq_2 = "extrq"
        insertq_2 = "insertq" sha256rnds2_2 = "sha256rnds2" vmovlps_2 = "vmovlps" vmovhps_2 = "vmovhps"
        vmovlpd_2 = "vmovlpd" vmovhpd_2 = "vmovhpd" vpgatherdd_2 = "vpgatherdd" vgatherdps_2 = "vgatherdps"
        vpgatherdq_2 = "vpgatherdq" vgatherdpd_2 = "vgatherdpd" vpgatherqd_2 = "vpgatherqd"
        vgatherqps_2 = "vgatherqps" vpgatherqq_2 = "vpgatherqq" vgatherqpd_2 = "vgatherqpd" rdmsr_2 = "rdmsr"
        wrmsrns_2 = "wrmsrns"
    }
    [a b c] {
        shld shrd andn bextr bzhi mulx pdep pext rorx sarx shlx shrx cmpoxadd cmpnoxadd cmpbxadd cmpcxadd cmpnaexadd
        cmpaexadd cmpnbxadd cmpncxadd cmpexadd cmpzxadd cmpnexadd cmpnzxadd cmpbexadd cmpnaxadd cmpaxadd cmpnbexadd
        cmpsxadd cmpnsxadd cmppxadd cmppexadd cmpnpxadd cmppoxadd cmplxadd cmpngexadd cmpgexadd cmpnlxadd cmplexadd
        cmpngxadd cmpgxadd cmpnlexadd pshufw pshufd pshufhw pshuflw pinsrw pextrw shufps shufpd palignr pblendvb
        blendvps blendvpd roundps roundpd roundss roundsd blendps blendpd pblendw pextrb pextrd pextrq extractps
        pinsrb insertps pinsrd pinsrq dpps dppd mpsadbw pcmpestrm pcmpestri pcmpistrm pcmpistri pcmpestrmq pcmpestriq
        extrq pclmulqdq aeskeygenassist sha1rnds4 sha256rnds2 gf2p8affineqb gf2p8affineinvqb vmovlps vmovhlps vmovhps
        vmovlhps vmovlpd vmovhpd vunpcklps vunpckhps vunpcklpd vunpckhpd vandps vandnps vorps vxorps vaddps vmulps
        vsubps vminps vdivps vmaxps vandpd vandnpd vorpd vxorpd vaddpd vmulpd vsubpd vminpd vdivpd vmaxpd vsqrtss
        vrsqrtss vrcpss vaddss vmulss vsubss vminss vdivss vmaxss vsqrtsd vaddsd vmulsd vsubsd vminsd vdivsd vmaxsd
        vaddsubpd vaddsubps vhaddpd vhsubpd vhaddps vhsubps vroundps vroundpd vextractps vcvtsi2ss vcvtsi2sd vcvtss2sd
        vcvtsd2ss vcvtps2ph vpunpcklbw vpunpcklwd vpunpckldq vpacksswb vpcmpgtb vpcmpgtw vpcmpgtd vpackuswb vpunpckhbw
        vpunpckhwd vpunpckhdq vpackssdw vpunpcklqdq vpunpckhqdq vpcmpeqb vpcmpeqw vpcmpeqd vpsrlw vpsrld vpsrlq vpaddq
        vpmullw vpsubusb vpsubusw vpminub vpand vpaddusb vpaddusw vpmaxub vpandn vpavgb vpsraw vpsrad vpavgw vpmulhuw
        vpmulhw vpsubsb vpsubsw vpminsw vpor vpaddsb vpaddsw vpmaxsw vpxor vpsllw vpslld vpsllq vpmuludq vpmaddwd
        vpsadbw vpsubb vpsubw vpsubd vpsubq vpaddb vpaddw vpaddd vpsrldq vpslldq vpshufd vpshufhw vpshuflw vpextrb
        vpextrw vpextrd vpextrq vpshufb vphaddw vphaddd vphaddsw vpmaddubsw vphsubw vphsubd vphsubsw vpsignb vpsignw
        vpsignd vpmulhrsw vpmuldq vpcmpeqq vpackusdw vpcmpgtq vpminsb vpminsd vpminuw vpminud vpmaxsb vpmaxsd vpmaxuw
        vpmaxud vpmulld vpcmpestrm vpcmpestri vpcmpistrm vpcmpistri vpcmpestrmq vpcmpestriq vpermilps vpermilpd
        vextractf128 vextracti128 vpermq vpermpd vpermps vpermd vpsrlvd vpsravd vpsllvd vpsrlvq vpsllvq vmaskmovps
        vmaskmovpd vpmaskmovd vpmaskmovq vpgatherdd vgatherdps vpgatherdq vgatherdpd vpgatherqd vgatherqps vpgatherqq
        vgatherqpd vpdpbusd vpdpbusds vpdpwssd vpdpwssds vpdpbuud vpdpbuuds vpdpbsud vpdpbsuds vpdpbssd vpdpbssds
        vpdpwuud vpdpwuuds vpdpwusd vpdpwusds vpdpwsud vpdpwsuds vpmadd52luq vpmadd52huq vaesenc vaesenclast vaesdec
        vaesdeclast vaeskeygenassist vpclmullqlqdq vpclmulhqlqdq vpclmullqhqdq vpclmulhqhqdq vgf2p8mulb vsha512rnds2
        vsm3msg1 vsm3msg2 vsm4key4 vsm4rnds4 kandb kandnb korb kxnorb kxorb kandw kandnw korw kxnorw kxorw kandd
        kandnd kord kxnord kxord kandq kandnq korq kxnorq kxorq kaddb kaddw kaddd kaddq kunpckbw kunpckwd kunpckdq
        kshiftrb kshiftrw kshiftrd kshiftrq kshiftlb kshiftlw kshiftld kshiftlq vfmaddsub132ps vfmaddsub213ps
        vfmaddsub231ps vfmaddsub132pd vfmaddsub213pd vfmaddsub231pd vfmsubadd132ps vfmsubadd213ps vfmsubadd231ps
        vfmsubadd132pd vfmsubadd213pd vfmsubadd231pd vfmadd132ps vfmadd213ps vfmadd231ps vfmadd132pd vfmadd213pd
        vfmadd231pd vfmadd132ss vfmadd213ss vfmadd231ss vfmadd132sd vfmadd213sd vfmadd231sd vfmsub132ps vfmsub213ps
        vfmsub231ps vfmsub132pd vfmsub213pd vfmsub231pd vfmsub132ss vfmsub213ss vfmsub231ss vfmsub132sd vfmsub213sd
        vfmsub231sd vfnmadd132ps vfnmadd213ps vfnmadd231ps vfnmadd132pd vfnmadd213pd vfnmadd231pd vfnmadd132ss
        vfnmadd213ss vfnmadd231ss vfnmadd132sd vfnmadd213sd vfnmadd231sd vfnmsub132ps vfnmsub213ps vfnmsub231ps
        vfnmsub132pd vfnmsub213pd vfnmsub231pd vfnmsub132ss vfnmsub213ss vfnmsub231ss vfnmsub132sd vfnmsub213sd
        vfnmsub231sd vfmaddsub132ph vfmaddsub213ph vfmaddsub231ph vfmsubadd132ph vfmsubadd213ph vfmsubadd231ph
        vfmadd132ph vfmadd213ph vfmadd231ph vfmadd132sh vfmadd213sh vfmadd231sh vfmsub132ph vfmsub213ph vfmsub231ph
        vfmsub132sh vfmsub213sh vfmsub231sh vfnmadd132ph vfnmadd213ph vfnmadd231ph vfnmadd132sh vfnmadd213sh
        vfnmadd231sh vfnmsub132ph vfnmsub213ph vfnmsub231ph vfnmsub132sh vfnmsub213sh vfnmsub231sh vprotb vprotw
        vprotd vprotq vpshlb vpshlw vpshld vpshlq vpshab vpshaw vpshad vpshaq lwpins lwpval cmpps cmppd cmpss vcmpeqps
        vcmpeq_oqps vcmpltps vcmplt_osps vcmpleps vcmple_osps vcmpunordps vcmpunord_qps vcmpneqps vcmpneq_uqps
        vcmpnltps vcmpnlt_usps vcmpnleps vcmpnle_usps vcmpordps vcmpord_qps vcmpeq_uqps vcmpngeps vcmpnge_usps
        vcmpngtps vcmpngt_usps vcmpfalseps vcmpfalse_oqps vcmpneq_oqps vcmpgeps vcmpge_osps vcmpgtps vcmpgt_osps
        vcmptrueps vcmptrue_uqps vcmpeq_osps vcmplt_oqps vcmple_oqps vcmpunord_sps vcmpneq_usps vcmpnlt_uqps
        vcmpnle_uqps vcmpord_sps vcmpeq_usps vcmpnge_uqps vcmpngt_uqps vcmpfalse_osps vcmpneq_osps vcmpge_oqps
        vcmpgt_oqps vcmptrue_usps vcmpeqpd vcmpeq_oqpd vcmpltpd vcmplt_ospd vcmplepd vcmple_ospd vcmpunordpd
        vcmpunord_qpd vcmpneqpd vcmpneq_uqpd vcmpnltpd vcmpnlt_uspd vcmpnlepd vcmpnle_uspd vcmpordpd vcmpord_qpd
        vcmpeq_uqpd vcmpngepd vcmpnge_uspd vcmpngtpd vcmpngt_uspd vcmpfalsepd vcmpfalse_oqpd vcmpneq_oqpd vcmpgepd
        vcmpge_ospd vcmpgtpd vcmpgt_ospd vcmptruepd vcmptrue_uqpd vcmpeq_ospd vcmplt_oqpd vcmple_oqpd vcmpunord_spd
        vcmpneq_uspd vcmpnlt_uqpd vcmpnle_uqpd vcmpord_spd vcmpeq_uspd vcmpnge_uqpd vcmpngt_uqpd vcmpfalse_ospd
        vcmpneq_ospd vcmpge_oqpd vcmpgt_oqpd vcmptrue_uspd vcmpeqss vcmpeq_oqss vcmpltss vcmplt_osss vcmpless
        vcmple_osss vcmpunordss vcmpunord_qss vcmpneqss vcmpneq_uqss vcmpnltss vcmpnlt_usss vcmpnless vcmpnle_usss
        vcmpordss vcmpord_qss vcmpeq_uqss vcmpngess vcmpnge_usss vcmpngtss vcmpngt_usss vcmpfalsess vcmpfalse_oqss
        vcmpneq_oqss vcmpgess vcmpge_osss vcmpgtss vcmpgt_osss vcmptruess vcmptrue_uqss vcmpeq_osss vcmplt_oqss
        vcmple_oqss vcmpunord_sss vcmpneq_usss vcmpnlt_uqss vcmpnle_uqss vcmpord_sss vcmpeq_usss vcmpnge_uqss
        vcmpngt_uqss vcmpfalse_osss vcmpneq_osss vcmpge_oqss vcmpgt_oqss vcmptrue_usss vcmpeqsd vcmpeq_oqsd vcmpltsd
        vcmplt_ossd vcmplesd vcmple_ossd vcmpunordsd vcmpunord_qsd vcmpneqsd vcmpneq_uqsd vcmpnltsd vcmpnlt_ussd
        vcmpnlesd vcmpnle_ussd vcmpordsd vcmpord_qsd vcmpeq_uqsd vcmpngesd vcmpnge_ussd vcmpngtsd vcmpngt_ussd
        vcmpfalsesd vcmpfalse_oqsd vcmpneq_oqsd vcmpgesd vcmpge_ossd vcmpgtsd vcmpgt_ossd vcmptruesd vcmptrue_uqsd
        vcmpeq_ossd vcmplt_oqsd vcmple_oqsd vcmpunord_ssd vcmpneq_ussd vcmpnlt_uqsd vcmpnle_uqsd vcmpord_ssd
        vcmpeq_ussd vcmpnge_uqsd vcmpngt_uqsd vcmpfalse_ossd vcmpneq_ossd vcmpge_oqsd vcmpgt_oqsd vcmptrue_ussd
        vcmpeqph vcmpeq_oqph vcmpltph vcmplt_osph vcmpleph vcmple_osph vcmpunordph vcmpunord_qph vcmpneqph
        vcmpneq_uqph vcmpnltph vcmpnlt_usph vcmpnleph vcmpnle_usph vcmpordph vcmpord_qph vcmpeq_uqph vcmpngeph
        vcmpnge_usph vcmpngtph vcmpngt_usph vcmpfalseph vcmpfalse_oqph vcmpneq_oqph vcmpgeph vcmpge_osph vcmpgtph
        vcmpgt_osph vcmptrueph vcmptrue_uqph vcmpeq_osph vcmplt_oqph vcmple_oqph vcmpunord_sph vcmpneq_usph
        vcmpnlt_uqph vcmpnle_uqph vcmpord_sph vcmpeq_usph vcmpnge_uqph vcmpngt_uqph vcmpfalse_osph vcmpneq_osph
        vcmpge_oqph vcmpgt_oqph vcmptrue_usph vcmpeqsh vcmpeq_oqsh vcmpltsh vcmplt_ossh vcmplesh vcmple_ossh
        vcmpunordsh vcmpunord_qsh vcmpneqsh vcmpneq_uqsh vcmpnltsh vcmpnlt_ussh vcmpnlesh vcmpnle_ussh vcmpordsh
        vcmpord_qsh vcmpeq_uqsh vcmpngesh vcmpnge_ussh vcmpngtsh vcmpngt_ussh vcmpfalsesh vcmpfalse_oqsh vcmpneq_oqsh
        vcmpgesh vcmpge_ossh vcmpgtsh vcmpgt_ossh vcmptruesh vcmptrue_uqsh vcmpeq_ossh vcmplt_oqsh vcmple_oqsh
        vcmpunord_ssh vcmpneq_ussh vcmpnlt_uqsh vcmpnle_uqsh vcmpord_ssh vcmpeq_ussh vcmpnge_uqsh vcmpngt_uqsh
        vcmpfalse_ossh vcmpneq_ossh vcmpge_oqsh vcmpgt_oqsh vcmptrue_ussh vpcmpequb vpcmpltub vpcmpleub vpcmpnequb
        vpcmpnltub vpcmpnleub vpcmpltb vpcmpleb vpcmpneqb vpcmpnltb vpcmpnleb vpcmpequw vpcmpltuw vpcmpleuw vpcmpnequw
        vpcmpnltuw vpcmpnleuw vpcmpltw vpcmplew vpcmpneqw vpcmpnltw vpcmpnlew vpcmpequd vpcmpltud vpcmpleud vpcmpnequd
        vpcmpnltud vpcmpnleud vpcmpltd vpcmpled vpcmpneqd vpcmpnltd vpcmpnled vpcmpequq vpcmpltuq vpcmpleuq vpcmpnequq
        vpcmpnltuq vpcmpnleuq vpcmpltq vpcmpleq vpcmpneqq vpcmpnltq vpcmpnleq vpcomltb vpcomleb vpcomgtb vpcomgeb
        vpcomeqb vpcomneqb vpcomfalseb vpcomtrueb vpcomltw vpcomlew vpcomgtw vpcomgew vpcomeqw vpcomneqw vpcomfalsew
        vpcomtruew vpcomltd vpcomled vpcomgtd vpcomged vpcomeqd vpcomneqd vpcomfalsed vpcomtrued vpcomltq vpcomleq
        vpcomgtq vpcomgeq vpcomeqq vpcomneqq vpcomfalseq vpcomtrueq vpcomltub vpcomleub vpcomgtub vpcomgeub vpcomequb
        vpcomnequb vpcomfalseub vpcomtrueub vpcomltuw vpcomleuw vpcomgtuw vpcomgeuw vpcomequw vpcomnequw vpcomfalseuw
        vpcomtrueuw vpcomltud vpcomleud vpcomgtud vpcomgeud vpcomequd vpcomnequd vpcomfalseud vpcomtrueud vpcomltuq
        vpcomleuq vpcomgtuq vpcomgeuq vpcomequq vpcomnequq vpcomfalseuq vpcomtrueuq vrcp14ss vrcp14sd vrsqrt14ss
        vrsqrt14sd vrcp28ss vrcp28sd vrsqrt28ss vrsqrt28sd vscalefps vscalefpd vscalefss vscalefsd vgetexpss vgetexpsd
        vrndscaleps vrndscalepd vgetmantps vgetmantpd vreduceps vreducepd vfpclassps vfpclasspd vfpclasspsx
        vfpclasspsy vfpclasspsz vfpclasspdx vfpclasspdy vfpclasspdz vfpclassss vfpclasssd vdpbf16ps v4fmaddps
        v4fnmaddps v4fmaddss v4fnmaddss vp4dpwssd vp4dpwssds vcvtusi2ss vcvtusi2sd vcvtne2ps2bf16 vpermi2ps vpermi2pd
        vpermt2ps vpermt2pd vblendmps vblendmpd vextractf32x4 vextractf64x2 vextractf32x8 vextractf64x4 vpsraq vprord
        vprorq vprold vprolq vpsrlvw vpsravw vpsllvw vprorvd vprorvq vprolvd vprolvq vpsravq vpshldvw vpshldvd
        vpshldvq vpshrdvw vpshrdvd vpshrdvq vpandd vpandq vpandnd vpandnq vpord vporq vpxord vpxorq vpminsq vpminuq
        vpmaxsq vpmaxuq vpmullq vpmultishiftqb vptestmb vptestmw vptestmd vptestmq vptestnmb vptestnmw vptestnmd
        vptestnmq vpshufbitqmb vp2intersectd vp2intersectq vpermw vpermb vpermi2b vpermi2w vpermi2d vpermi2q vpermt2b
        vpermt2w vpermt2d vpermt2q vpblendmb vpblendmw vpblendmd vpblendmq vextracti32x4 vextracti64x2 vextracti32x8
        vextracti64x4 vaddph vaddsh vmulph vmulsh vsubph vsubsh vminph vminsh vdivph vdivsh vmaxph vmaxsh vsqrtsh
        vrcpsh vrsqrtsh vscalefph vscalefsh vgetexpsh vrndscaleph vgetmantph vreduceph vfpclassph vfpclasssh vfmaddcph
        vfmaddcsh vfcmaddcph vfcmaddcsh vfmulcph vfmulcsh vfcmulcph vfcmulcsh vcvtsi2sh vcvtusi2sh vcvtsh2sd vcvtsd2sh
        vcvtsh2ss vcvtss2sh tdpbf16ps tdpfp16ps tdpbssd tdpbsud tdpbusd tdpbuud tcmmimfp16ps tcmmrlfp16ps imulzu
        tdphf8ps tdpbf8ps tdpbhf8ps tdphbf8ps tmmultf32ps tilemovrow tcvtrowd2ps tcvtrowps2phh tcvtrowps2phl
        tcvtrowps2bf16l tcvtrowps2bf16h vaddbf16 vmulbf16 vsubbf16 vminbf16 vdivbf16 vmaxbf16 vscalefbf16
        vfmadd132bf16 vfmadd213bf16 vfmadd231bf16 vfmsub132bf16 vfmsub213bf16 vfmsub231bf16 vfnmadd132bf16
        vfnmadd213bf16 vfnmadd231bf16 vfnmsub132bf16 vfnmsub213bf16 vfnmsub231bf16 vrndscalebf16 vgetmantbf16
        vreducebf16 vfpclassbf16 vcvt2ps2phx vcvt2ph2bf8 vcvt2ph2bf8s vcvt2ph2hf8 vcvt2ph2hf8s vcvtbiasph2bf8
        vcvtbiasph2bf8s vcvtbiasph2hf8 vcvtbiasph2hf8s vdpphps vcmpeqbf16 vcmpeq_oqbf16 vcmpltbf16 vcmplt_osbf16
        vcmplebf16 vcmple_osbf16 vcmpunordbf16 vcmpunord_qbf16 vcmpneqbf16 vcmpneq_uqbf16 vcmpnltbf16 vcmpnlt_usbf16
        vcmpnlebf16 vcmpnle_usbf16 vcmpordbf16 vcmpord_qbf16 vcmpeq_uqbf16 vcmpngebf16 vcmpnge_usbf16 vcmpngtbf16
        vcmpngt_usbf16 vcmpfalsebf16 vcmpfalse_oqbf16 vcmpneq_oqbf16 vcmpgebf16 vcmpge_osbf16 vcmpgtbf16 vcmpgt_osbf16
        vcmptruebf16 vcmptrue_uqbf16 vcmpeq_osbf16 vcmplt_oqbf16 vcmple_oqbf16 vcmpunord_sbf16 vcmpneq_usbf16
        vcmpnlt_uqbf16 vcmpnle_uqbf16 vcmpord_sbf16 vcmpeq_usbf16 vcmpnge_uqbf16 vcmpngt_uqbf16 vcmpfalse_osbf16
        vcmpneq_osbf16 vcmpge_oqbf16 vcmpgt_oqbf16 vcmptrue_usbf16
        ;
        cmovo_3 = "cmovo" cmovno_3 = "cmovno" cmovb_3 = "cmovb" cmovc_3 = "cmovc" cmovnae_3 = "cmovnae"
        cmovae_3 = "cmovae" cmovnb_3 = "cmovnb" cmovnc_3 = "cmovnc" cmove_3 = "cmove" cmovz_3 = "cmovz"
        cmovne_3 = "cmovne" cmovnz_3 = "cmovnz" cmovbe_3 = "cmovbe" cmovna_3 = "cmovna" cmova_3 = "cmova"
        cmovnbe_3 = "cmovnbe" cmovs_3 = "cmovs" cmovns_3 = "cmovns" cmovp_3 = "cmovp" cmovpe_3 = "cmovpe"
        cmovnp_3 = "cmovnp" cmovpo_3 = "cmovpo" cmovl_3 = "cmovl" cmovnge_3 = "cmovnge" cmovge_3 = "cmovge"
        cmovnl_3 = "cmovnl" cmovle_3 = "cmovle" cmovng_3 = "cmovng" cmovg_3 = "cmovg" cmovnle_3 = "cmovnle"
        add_3 = "add" or_3 = "or" adc_3 = "adc" sbb_3 = "sbb" and_3 = "and" sub_3 = "sub" xor_3 = "xor"
        imul_3 = "imul" rol_3 = "rol" ror_3 = "ror" rcl_3 = "rcl" rcr_3 = "rcr" shl_3 = "shl" sal_3 = "sal"
        shr_3 = "shr" sar_3 = "sar" adcx_3 = "adcx" adox_3 = "adox" cmpsd_3 = "cmpsd" vmovss_3 = "vmovss"
        vmovsd_3 = "vmovsd" vmovsh_3 = "vmovsh" cfcmovo_3 = "cfcmovo" cfcmovno_3 = "cfcmovno" cfcmovb_3 = "cfcmovb"
        cfcmovc_3 = "cfcmovc" cfcmovnae_3 = "cfcmovnae" cfcmovae_3 = "cfcmovae" cfcmovnb_3 = "cfcmovnb"
        cfcmovnc_3 = "cfcmovnc" cfcmove_3 = "cfcmove" cfcmovz_3 = "cfcmovz" cfcmovne_3 = "cfcmovne"
        cfcmovnz_3 = "cfcmovnz" cfcmovbe_3 = "cfcmovbe" cfcmovna_3 = "cfcmovna" cfcmova_3 = "cfcmova"
        cfcmovnbe_3 = "cfcmovnbe" cfcmovs_3 = "cfcmovs" cfcmovns_3 = "cfcmovns" cfcmovp_3 = "cfcmovp"
        cfcmovpe_3 = "cfcmovpe" cfcmovnp_3 = "cfcmovnp" cfcmovpo_3 = "cfcmovpo" cfcmovl_3 = "cfcmovl"
        cfcmovnge_3 = "cfcmovnge" cfcmovge_3 = "cfcmovge" cfcmovnl_3 = "cfcmovnl" cfcmovle_3 = "cfcmovle"
        cfcmovng_3 = "cfcmovng" cfcmovg_3 = "cfcmovg" cfcmovnle_3 = "cfcmovnle"
    }
    [a b c d] {
        insertq vshufps vshufpd vroundss vroundsd vblendps vblendpd vpblendw vblendvps vblendvpd vpblendvb vdpps vdppd
        vmpsadbw vinsertps vpinsrb vpinsrw vpinsrd vpinsrq vpalignr vperm2f128 vperm2i128 vinsertf128 vinserti128
        vpblendd vpclmulqdq vgf2p8affineqb vgf2p8affineinvqb vsm3rnds2 vfmaddsubps vfmaddsubpd vfmsubaddps vfmsubaddpd
        vfmaddps vfmaddpd vfmaddss vfmaddsd vfmsubps vfmsubpd vfmsubss vfmsubsd vfnmaddps vfnmaddpd vfnmaddss
        vfnmaddsd vfnmsubps vfnmsubpd vfnmsubss vfnmsubsd vpmacssww vpmacsswd vpmacssdql vpmacssdd vpmacssdqh vpmacsww
        vpmacswd vpmacsdql vpmacsdd vpmacsdqh vpcmov vpperm vpmadcsswd vpmadcswd vcmpps vcmppd vcmpss vcmpsd vcmpph
        vcmpsh vpcmpub vpcmpb vpcmpuw vpcmpw vpcmpud vpcmpd vpcmpuq vpcmpq vpcomb vpcomw vpcomd vpcomq vpcomub vpcomuw
        vpcomud vpcomuq vrndscaless vrndscalesd vgetmantss vgetmantsd vrangeps vrangepd vrangess vrangesd vfixupimmps
        vfixupimmpd vfixupimmss vfixupimmsd vreducess vreducesd vshuff32x4 vshuff64x2 vinsertf32x4 vinsertf64x2
        vinsertf32x8 vinsertf64x4 vpshldw vpshldd vpshldq vpshrdw vpshrdd vpshrdq vdbpsadbw vpternlogd vpternlogq
        valignd valignq vshufi32x4 vshufi64x2 vinserti32x4 vinserti64x2 vinserti32x8 vinserti64x4 vrndscalesh
        vgetmantsh vreducesh vcmpbf16 vminmaxbf16 vminmaxph vminmaxps vminmaxpd vminmaxsh vminmaxss vminmaxsd
        ;
        shld_4 = "shld" shrd_4 = "shrd"
    }
    [a b c d e] {
        vpermil2ps vpermil2pd
    }
}
