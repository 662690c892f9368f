//! cranelift-assembler-x64: one struct a form, chosen by the caller.

use cranelift_assembler_x64::{
    Amode, AmodeOffset, AmodeOffsetPlusKnownOffset, GprMem, Imm8, Imm32, NonRspGpr, Registers, Scale, Simm8, Simm32,
    XmmMem, inst,
};

use super::Round;

struct Regs;

impl Registers for Regs {
    type ReadGpr = u8;
    type ReadWriteGpr = u8;
    type WriteGpr = u8;
    type ReadXmm = u8;
    type ReadWriteXmm = u8;
    type WriteXmm = u8;
}

fn mem(base: u8, disp: i32) -> Amode<u8> {
    Amode::ImmReg {
        base,
        simm32: AmodeOffsetPlusKnownOffset {
            simm32: AmodeOffset::new(disp),
            offset: None,
        },
        trap: None,
    }
}

fn reg(n: u8) -> GprMem<u8, u8> {
    GprMem::Gpr(n)
}

#[rustfmt::skip]
pub(super) fn encode(rounds: &[Round]) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    let out = &mut bytes;
    for round in rounds {
        let [a, b, c, d] = round.r;
        let [x, y, z] = round.x;
        let (small, large) = (i32::from(round.small), round.large);
        inst::movq_mr::<Regs>::new(reg(a), b).encode(out);
        inst::movq_rm::<Regs>::new(b, GprMem::Mem(mem(c, small))).encode(out);
        inst::movq_mr::<Regs>::new(GprMem::Mem(mem(d, large)), a).encode(out);
        inst::addq_mi_sxb::<Regs>::new(reg(a), Simm8::new(round.small)).encode(out);
        inst::subq_mi_sxl::<Regs>::new(reg(b), Simm32::new(large)).encode(out);
        let address = Amode::ImmRegRegShift {
            base: a,
            index: NonRspGpr::from(b),
            scale: Scale::Four,
            simm32: AmodeOffset::new(small),
            trap: None,
        };
        inst::leaq_rm::<Regs>::new(c, address).encode(out);
        inst::xorl_mr::<Regs>::new(reg(d), d).encode(out);
        inst::cmpq_mr::<Regs>::new(reg(a), c).encode(out);
        inst::testl_mr::<Regs>::new(reg(b), d).encode(out);
        inst::pushq_o::<Regs>::new(a).encode(out);
        inst::popq_o::<Regs>::new(b).encode(out);
        inst::movzbl_rm::<Regs>::new(a, GprMem::Mem(mem(b, 0))).encode(out);
        inst::imulq_rm::<Regs>::new(c, reg(d)).encode(out);
        inst::shlq_mi::<Regs>::new(reg(a), Imm8::new(3)).encode(out);
        inst::cmovlq_rm::<Regs>::new(b, reg(a)).encode(out);
        inst::movl_oi::<Regs>::new(c, Imm32::new(large as u32)).encode(out);
        inst::movsd_a_m::<Regs>::new(x, mem(a, small)).encode(out);
        inst::addsd_a::<Regs>::new(y, XmmMem::Xmm(z)).encode(out);
        inst::vaddps_b::<Regs>::new(x, y, XmmMem::Xmm(z)).encode(out);
        inst::sete_m::<Regs>::new(reg(d)).encode(out);
    }
    bytes
}
