//! iced-x86.

use iced_x86::code_asm::{
    AsmRegister8, AsmRegister32, AsmRegister64, AsmRegisterXmm, CodeAssembler, byte_ptr, qword_ptr,
};
use iced_x86::{Code, Encoder, IcedError, Instruction, MemoryOperand, Register};

use super::Round;

fn g8(n: u8) -> Register {
    // 4 to 7 are ah to bh in this order.
    [
        Register::AL,
        Register::CL,
        Register::DL,
        Register::BL,
        Register::SPL,
        Register::BPL,
        Register::SIL,
        Register::DIL,
    ]
    .get(usize::from(n))
    .copied()
    .unwrap_or_else(|| Register::R8L + u32::from(n - 8))
}

fn g32(n: u8) -> Register {
    Register::EAX + u32::from(n)
}

fn g64(n: u8) -> Register {
    Register::RAX + u32::from(n)
}

fn xmm(n: u8) -> Register {
    Register::XMM0 + u32::from(n)
}

fn mem(base: Register, disp: i32) -> MemoryOperand {
    let size = if disp == 0 { 0 } else { 1 };
    MemoryOperand::with_base_displ_size(base, disp.into(), size)
}

fn round_instructions(round: &Round) -> Result<[Instruction; super::MIX], IcedError> {
    let [a, b, c, d] = round.r;
    let [x, y, z] = round.x;
    let (small, large) = (i32::from(round.small), round.large);
    Ok([
        Instruction::with2(Code::Mov_rm64_r64, g64(a), g64(b))?,
        Instruction::with2(Code::Mov_r64_rm64, g64(b), mem(g64(c), small))?,
        Instruction::with2(Code::Mov_rm64_r64, mem(g64(d), large), g64(a))?,
        Instruction::with2(Code::Add_rm64_imm8, g64(a), small)?,
        Instruction::with2(Code::Sub_rm64_imm32, g64(b), large)?,
        Instruction::with2(
            Code::Lea_r64_m,
            g64(c),
            MemoryOperand::with_base_index_scale_displ_size(g64(a), g64(b), 4, small.into(), 1),
        )?,
        Instruction::with2(Code::Xor_rm32_r32, g32(d), g32(d))?,
        Instruction::with2(Code::Cmp_rm64_r64, g64(a), g64(c))?,
        Instruction::with2(Code::Test_rm32_r32, g32(b), g32(d))?,
        Instruction::with1(Code::Push_r64, g64(a))?,
        Instruction::with1(Code::Pop_r64, g64(b))?,
        Instruction::with2(Code::Movzx_r32_rm8, g32(a), mem(g64(b), 0))?,
        Instruction::with2(Code::Imul_r64_rm64, g64(c), g64(d))?,
        Instruction::with2(Code::Shl_rm64_imm8, g64(a), 3)?,
        Instruction::with2(Code::Cmovl_r64_rm64, g64(b), g64(a))?,
        Instruction::with2(Code::Mov_r32_imm32, g32(c), large)?,
        Instruction::with2(Code::Movsd_xmm_xmmm64, xmm(x), mem(g64(a), small))?,
        Instruction::with2(Code::Addsd_xmm_xmmm64, xmm(y), xmm(z))?,
        Instruction::with3(Code::VEX_Vaddps_xmm_xmm_xmmm128, xmm(x), xmm(y), xmm(z))?,
        Instruction::with1(Code::Sete_rm8, g8(d))?,
    ])
}

/// `Instruction::with*` and `Encoder`.
pub(super) fn encoder(rounds: &[Round]) -> Vec<u8> {
    let mut encoder = Encoder::new(64);
    for round in rounds {
        for instruction in round_instructions(round).expect("all are valid") {
            encoder.encode(&instruction, 0).expect("all are valid");
        }
    }
    encoder.take_buffer()
}

/// `CodeAssembler`, which chooses the form.
pub(super) fn code_assembler(rounds: &[Round]) -> Vec<u8> {
    let mut code = CodeAssembler::new(64).expect("64 bits");
    for round in rounds {
        code_assembler_round(&mut code, round).expect("all are valid");
    }
    code.assemble(0).expect("all are valid")
}

fn a8(n: u8) -> AsmRegister8 {
    iced_x86::code_asm::registers::get_gpr8(g8(n)).expect("a register")
}

fn a32(n: u8) -> AsmRegister32 {
    iced_x86::code_asm::registers::get_gpr32(g32(n)).expect("a register")
}

fn a64(n: u8) -> AsmRegister64 {
    iced_x86::code_asm::registers::get_gpr64(g64(n)).expect("a register")
}

fn ax(n: u8) -> AsmRegisterXmm {
    iced_x86::code_asm::registers::get_xmm(xmm(n)).expect("a register")
}

fn code_assembler_round(code: &mut CodeAssembler, round: &Round) -> Result<(), IcedError> {
    let [a, b, c, d] = round.r;
    let [x, y, z] = round.x;
    let (small, large) = (i32::from(round.small), round.large);
    code.mov(a64(a), a64(b))?;
    code.mov(a64(b), qword_ptr(a64(c) + small))?;
    code.mov(qword_ptr(a64(d) + large), a64(a))?;
    code.add(a64(a), small)?;
    code.sub(a64(b), large)?;
    code.lea(a64(c), qword_ptr(a64(a) + a64(b) * 4 + small))?;
    code.xor(a32(d), a32(d))?;
    code.cmp(a64(a), a64(c))?;
    code.test(a32(b), a32(d))?;
    code.push(a64(a))?;
    code.pop(a64(b))?;
    code.movzx(a32(a), byte_ptr(a64(b)))?;
    code.imul_2(a64(c), a64(d))?;
    code.shl(a64(a), 3)?;
    code.cmovl(a64(b), a64(a))?;
    code.mov(a32(c), large)?;
    code.movsd_2(ax(x), qword_ptr(a64(a) + small))?;
    code.addsd(ax(y), ax(z))?;
    code.vaddps(ax(x), ax(y), ax(z))?;
    code.sete(a8(d))
}

pub(super) fn labels(rounds: &[Round]) -> Vec<u8> {
    let mut code = CodeAssembler::new(64).expect("64 bits");
    for round in rounds {
        labels_round(&mut code, round).expect("all are valid");
    }
    code.assemble(0).expect("all are valid")
}

fn labels_round(code: &mut CodeAssembler, round: &Round) -> Result<(), IcedError> {
    let [a, b, c, _] = round.r;
    let small = i32::from(round.small);
    let (mut again, mut done) = (code.create_label(), code.create_label());
    code.set_label(&mut again)?;
    code.cmp(a64(a), a64(b))?;
    code.je(done)?;
    code.mov(a64(c), qword_ptr(a64(a) + small))?;
    code.add(a64(c), a64(b))?;
    code.test(a64(c), a64(c))?;
    code.jne(again)?;
    code.sub(a64(a), small)?;
    code.jmp(again)?;
    // Two labels cannot be at one instruction.
    code.set_label(&mut done)?;
    code.nop()
}
