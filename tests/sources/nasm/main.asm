; Assembly with a C partner: sections, data, library calls, constructors, thread-local data.
; With PIC: calls through the PLT and data through the GOT; without: absolute addresses.
bits 64
default rel
extern printf, puts, fputs, stdout, partner, partner_value
global main, asm_value, asm_function, table

%ifdef PIC
%define PLT wrt ..plt
%ifdef __YASM_MAJOR__
%define GOT wrt ..gotpcrel
%else
%define GOT wrt ..got
%endif
%else
%define PLT
%endif

section .data align=16
asm_value: dq 40
table:     dq first, second, partner
greeting:  dq text
section .bss align=64
buffer:    resb 4096
zero:      resq 1
section .rodata align=8
text:      db "value %ld %ld %ld", 10, 0
hello:     db "hello from assembly", 0
line:      db "to stdout", 10, 0
offsets:   dd first - offsets, second - offsets

section .init_array
           dq construct

section .text align=16
construct: inc qword [zero]
           ret
first:     lea rax, [rdi + 1]
           ret
second:    lea rax, [rdi * 2]
           ret
asm_function:
           mov rax, [asm_value]
           add rax, rdi
           ret

main:      push rbx
           push r12
           sub rsp, 8
           lea rdi, [hello]
           call puts PLT
%ifdef PIC
           mov rax, [stdout GOT]
           mov rsi, [rax]
           mov rax, [partner_value GOT]
           mov rbx, [rax]
%else
           mov rsi, [stdout]
           mov rbx, [partner_value]
%endif
           lea rdi, [line]
           call fputs PLT
           mov edi, 5
           call partner PLT
           mov r12, rax
           ; through a table of addresses, and through one of differences
           lea rcx, [table]
           mov edi, 10
           call [rcx + 8]
           add r12, rax
           lea rcx, [offsets]
           movsxd rdx, dword [rcx + 4]
           add rcx, rdx
           mov edi, 100
           call rcx
           add r12, rax
%ifndef PIC
           mov ecx, table
           mov edi, 1000
           call [rcx]
           add r12, rax
           sub r12, 1001
           mov eax, [asm_value]
           mov byte [buffer + 4095], 1
%endif
           cmp byte [buffer + 4094], 0
           jne .bad
           mov rdi, [greeting]
           mov rsi, r12
           mov rdx, rbx
           mov rcx, [zero]
           xor eax, eax
           call printf PLT
           mov eax, 42
           jmp short .end
.bad:      mov eax, 1
.end:      add rsp, 8
           pop r12
           pop rbx
           ret
section .note.GNU-stack noalloc noexec nowrite progbits
