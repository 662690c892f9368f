//! restub.

use restub_asm::reg::{Gp8, Gp32, Gp64, Xmm};
use restub_asm::{Buffer, Builder, Emit, EncodeError, Inst, Instructions, Mem, Mnemonic, Operand, ptr};

use super::Round;

fn g8(n: u8) -> Gp8 {
    Gp8::new(n).expect("a register")
}

fn g32(n: u8) -> Gp32 {
    Gp32::new(n).expect("a register")
}

fn g64(n: u8) -> Gp64 {
    Gp64::new(n).expect("a register")
}

fn xmm(n: u8) -> Xmm {
    Xmm::new(n).expect("a register")
}

/// The mix by operands of known types.
#[inline(always)]
fn typed_round(code: &mut impl Instructions, round: &Round) -> Result<(), EncodeError> {
    let [a, b, c, d] = round.r;
    let [x, y, z] = round.x;
    let (small, large) = (round.small, round.large);
    let disp = i32::from(small);
    code.mov(g64(a), g64(b))?;
    code.mov(g64(b), ptr(g64(c), disp))?;
    code.mov(ptr(g64(d), large), g64(a))?;
    code.add(g64(a), small)?;
    code.sub(g64(b), large)?;
    code.lea(g64(c), ptr(g64(a), disp).index(g64(b), 4))?;
    code.xor(g32(d), g32(d))?;
    code.cmp(g64(a), g64(c))?;
    code.test(g32(b), g32(d))?;
    code.push(g64(a))?;
    code.pop(g64(b))?;
    code.movzx(g32(a), ptr(g64(b), 0).byte())?;
    code.imul(g64(c), g64(d))?;
    code.shl(g64(a), 3i8)?;
    code.cmovl(g64(b), g64(a))?;
    code.mov(g32(c), large)?;
    code.movsd_2(xmm(x), ptr(g64(a), disp).qword())?;
    code.addsd(xmm(y), xmm(z))?;
    code.vaddps(xmm(x), xmm(y), xmm(z))?;
    code.sete(g8(d))
}

pub(super) fn typed_into(rounds: &[Round], memory: &mut [u8]) -> usize {
    let mut code = Buffer::new(memory);
    for round in rounds {
        typed_round(&mut code, round).expect("all are valid");
    }
    code.bytes().len()
}

pub(super) fn typed(rounds: &[Round]) -> Vec<u8> {
    let mut memory = vec![0; rounds.len() * 320];
    let len = typed_into(rounds, &mut memory);
    memory.truncate(len);
    memory
}

fn build_typed(rounds: &[Round]) -> Builder {
    let mut code = Builder::new();
    for round in rounds {
        typed_round(&mut code, round).expect("all are valid");
    }
    code
}

pub(super) fn builder_typed(rounds: &[Round]) -> Vec<u8> {
    build_typed(rounds).finish_at(0, |_| None).expect("nothing is open")
}

pub(super) fn builder_typed_length(rounds: &[Round]) -> u64 {
    build_typed(rounds).position()
}

/// The mix as operands of which nothing is known before.
#[rustfmt::skip]
fn dynamic_round(round: &Round, mut op: impl FnMut(Mnemonic, &[Operand])) {
    macro_rules! m {
        ($name:literal) => {
            const { Mnemonic::constant($name) }
        };
    }
    let [a, b, c, d] = round.r;
    let [x, y, z] = round.x;
    let (small, large) = (round.small, round.large);
    let disp = i32::from(small);
    let r = |n| Operand::from(g64(n));
    let e = |n| Operand::from(g32(n));
    op(m!("mov"), &[r(a), r(b)]);
    op(m!("mov"), &[r(b), Mem::base(g64(c), disp).into()]);
    op(m!("mov"), &[Mem::base(g64(d), large).into(), r(a)]);
    op(m!("add"), &[r(a), small.into()]);
    op(m!("sub"), &[r(b), large.into()]);
    op(m!("lea"), &[r(c), Mem::indexed(g64(a), g64(b), 4, disp).into()]);
    op(m!("xor"), &[e(d), e(d)]);
    op(m!("cmp"), &[r(a), r(c)]);
    op(m!("test"), &[e(b), e(d)]);
    op(m!("push"), &[r(a)]);
    op(m!("pop"), &[r(b)]);
    op(m!("movzx"), &[e(a), Mem::base(g64(b), 0).size(1).into()]);
    op(m!("imul"), &[r(c), r(d)]);
    op(m!("shl"), &[r(a), 3i8.into()]);
    op(m!("cmovl"), &[r(b), r(a)]);
    op(m!("mov"), &[e(c), large.into()]);
    op(m!("movsd"), &[xmm(x).into(), Mem::base(g64(a), disp).size(8).into()]);
    op(m!("addsd"), &[xmm(y).into(), xmm(z).into()]);
    op(m!("vaddps"), &[xmm(x).into(), xmm(y).into(), xmm(z).into()]);
    op(m!("sete"), &[g8(d).into()]);
}

fn build_dynamic(rounds: &[Round]) -> Builder {
    let mut code = Builder::new();
    for round in rounds {
        dynamic_round(round, |mnemonic, operands| {
            code.op(mnemonic, operands).expect("all are valid")
        });
    }
    code
}

pub(super) fn builder_dynamic(rounds: &[Round]) -> Vec<u8> {
    build_dynamic(rounds).finish_at(0, |_| None).expect("nothing is open")
}

pub(super) fn builder_dynamic_length(rounds: &[Round]) -> u64 {
    build_dynamic(rounds).position()
}

/// Without a builder: nothing is remembered between instructions.
pub(super) fn encode(rounds: &[Round]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for round in rounds {
        dynamic_round(round, |mnemonic, operands| {
            let encoded = restub_asm::encode(&Inst::with(mnemonic, operands)).expect("all are valid");
            bytes.extend_from_slice(encoded.bytes());
        });
    }
    bytes
}

pub(super) fn labels(rounds: &[Round]) -> Vec<u8> {
    let mut code = Builder::new();
    for round in rounds {
        labels_round(&mut code, round).expect("all are valid");
    }
    code.finish_at(0, |_| None).expect("all labels are bound")
}

fn labels_round(code: &mut Builder, round: &Round) -> Result<(), EncodeError> {
    let [a, b, c, _] = round.r;
    let (again, done) = (code.here(), code.label());
    code.cmp(g64(a), g64(b))?;
    code.je(done)?;
    code.mov(g64(c), ptr(g64(a), i32::from(round.small)))?;
    code.add(g64(c), g64(b))?;
    code.test(g64(c), g64(c))?;
    code.jne(again)?;
    code.sub(g64(a), round.small)?;
    code.jmp(again)?;
    code.bind(done).expect("it is bound once");
    code.nop()
}
