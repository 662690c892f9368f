# What people write and compilers do not.
	.file	"handwritten.s"
	.equ	SIZE, 64
	.set	count, %ecx
out = %rdi
acc0 = %xmm4
acc1 = %xmm5

# Macros: defaults, required and remaining arguments, \@ and \(), blanks behind a backslash.
	.macro	save reg:req, more:vararg
	push	%\reg
	.ifnb	\more
	save	\more
	.endif
	.endm
	.macro	label prefix, number=7
\prefix\()_\number:
	jmp	.Lskip\@
	.rept	3
	nop
	.endr
.Lskip\@:
	call	\ prefix
	.endm
	.macro	same a, b
	.ifc	\a,\b
	.byte	1
	.else
	.byte	0
	.endif
	.if	%rax == %rax && \a == \b
	.byte	2
	.elseif	%rax == %rbx
	.byte	3
	.endif
	.endm

	.text
	.globl	work
	.type	work, @function
	.balign	SIZE
work:
	.cfi_startproc
	save	rbx, rbp, r12
	.cfi_adjust_cfa_offset 24
	.cfi_rel_offset %rbx, 16
	xor	count, count
	movdqa	(out), acc0
	paddd	acc0, acc1
	movdqu	acc1, 16(out,%rcx,4)
	.set	count, %edx
	add	$SIZE * 2 - 1, count
	jmp	*out
	label	thing
	label	other, 9
1:	dec	%eax
	jnz	1b
	jz	2f
	.p2align 4,,10
2:	rep; movsb
	lock; incl (%rsi)
	rep stosq
	fs movl 0, %eax
	movl	%fs:16, %edx
	mov	$sym_b - sym_a, %eax
	lea	(sym_a + SIZE)(%rip), %rdx
	leaq	sym_a+(3*8)(,%rcx,8), %rsi
	movabs	$0x123456789abcdef0, %r10
	.byte	0xf3, 0x0f, 0x1e, 0xfa
	.irp	reg, rax, rcx, r8
	pop	%\reg
	.endr
	.irpc	digit, 0123
	movd	%xmm\digit, %eax
	.endr
	i = 0 ; .rept 4 ; .quad i << 3 ; i = i + 1 ; .endr
	pop	%r12 ; pop %rbp /* a comment */ ; pop %rbx
	.cfi_def_cfa_offset 8
	ret
	.cfi_endproc
	.size	work, .-work

	.altmacro
	.macro	entry name, value
	LOCAL	here
here:	.quad	here, name
	.byte	value
	.endm
	.set	n, 5
	entry	work, %n+1
	entry	<work + 4>, 2
	.noaltmacro

	.section .rodata.cst16, "aM", @progbits, 16
	.balign	16
mask:	.octa	0x000102030405060708090a0b0c0d0e0f
	.fill	2, 8, 0x1122334455667788
	.section .rodata
sym_a:	.ascii	"a\tb\x41\101\n", "more" ; .asciz "z"
	.space	SIZE - (. - sym_a), 0xcc
sym_b:	.float	1.5, -2e3
	.double	3.141592653589793
	.value	'a', 'b
	same	1, 1
	same	1, 2
	.uleb128 sym_b - sym_a
	.sleb128 -129

	.pushsection .note.test, "a", @note
	.long	4f - 3f, 0, 1
3:	.asciz	"GNU"
4:	.popsection
	.org	sym_a + 256, 0xff
	.subsection 2
	.ascii	"behind"
	.previous
	.section .data.rel, "aw"
	.quad	mask, work@GOTOFF - 4, .text
	.long	work - .
	.reloc	., R_X86_64_NONE, work
	.weakref quiet, loud
	.quad	quiet
	.weak	maybe
	.protected work
	.hidden	mask
	.globl	alias, outside
	.set	alias, work + 1
	.set	outside, elsewhere
	.symver	work, work@@VERSION_1
	.comm	common_block, 256, 32
	.lcomm	local_block, 24
	.local	also_local
	.comm	also_local, 8, 8
# The accumulator with itself, where 90 would leave the upper half alone.
	.text
	xchgl	%eax, %eax
	xchgq	%rax, %rax
	xchg	%eax, %eax
# A COMDAT section's own references go by the section, those of others by the name.
	.section	.data.ring, "awG", @progbits, ring, comdat
ring_local:
	.quad	ring_local
	.quad	ring_local + 8
	.section	.data.outside, "aw", @progbits
	.quad	ring_local + 8
	.section	.gnu.linkonce.d.once, "aw", @progbits
once_local:
	.quad	once_local + 4
	.data
	.quad	once_local + 4

# A call is marked as one where its target is not known when it is read, unless something is added; a jump, where it is
# not known at the end.
	.section .text.marks, "ax", @progbits
known:	ret
	.set equal_known, known
	.set equal_outside, outside
	.section .text.calls, "ax", @progbits
	call known
	jmp known
	.globl known
	call known
	call known + 4
	jmp known + 4
	call grouped
	jmp grouped
	jne grouped
	call grouped + 4
	call outside
	call outside + 4
	call outside - 4 + 4
	jmp outside + 4
	call outside@PLT + 4
	jmp outside@PLT
	mov outside@GOTPCREL(%rip), %rax
	mov equal_outside@GOTPCREL(%rip), %rax
	movabs $outside@GOT, %rax
	call equal_outside@PLT
	mov equal_outside@GOTTPOFF(%rip), %rax
	.quad outside@GOTOFF, outside@SIZE
	call unknown
	call unknown + 4
	jmp unknown + 4
	{disp32} jmp unknown + 4
	call equal_known
	call equal_outside
	jmp equal_outside
	.intel_syntax noprefix
	call outside
	call outside + 4
	.att_syntax
	.section .text.grouped, "axG", @progbits, marks, comdat
	nop
grouped:	ret
	.section .text.calls
	call grouped
	jmp grouped

# To a line table, an instruction begins with a prefix that has a line of its own. A file that has no debug information
# would get some from GNU as.
	.section	.debug_info, "", @progbits
	.byte	0
	.section	.text.lines, "ax", @progbits
	.file	1 "handwritten.s"
	.loc	1 1 1
	nop
	.loc	1 2 2
	data16
	lea	local@TLSGD(%rip), %rdi
	data16
	rex64
	call	__tls_get_addr@PLT
	.loc	1 3 3
	lock
	incl	(%rax)
	.end
This is not read.
