/*
 * The guest: what runs in the virtual machine. It walks over its memory in a pseudo-random order, one page at each
 * step, for ever. The step checks the word that its last visit to this page wrote, and writes the next one; each pass
 * over the memory visits each page once, so that what a page must hold follows from the number of the pass, and a page
 * that is older or younger than it must be is found when it is met. From time to time it rests, as its header says,
 * and prints a line on its serial port:
 *
 *     beat N steps M ok
 *     beat N steps M failed K
 *     BAD page 0x... holds 0x... instead of 0x...
 *     BAD time
 *
 * 64-bit mode, with page tables that its loader made; no interrupts. A step is twelve instructions, since some hosts
 * emulate each of them, at some two microseconds. It does not know where it was linked: only relative addresses.
 *
 * While it walks:  rdi position   rbx number of the pass << GUEST_VISIT_SHIFT   r12 steps until it rests
 *                  r13 slot of the last pass   r14 of this one   rbp header
 *                  r8 r9 add and mask of the walk   r10 GUEST_FIRST   r11 1 << GUEST_VISIT_SHIFT
 */
#include "dsm/vmm/guest_layout.h"

	.section .rodata
	.code64
	.balign 16
	.globl guest_image
	.globl guest_image_end
	.hidden guest_image
	.hidden guest_image_end

guest_image:
	mov	$GUEST_STACK_TOP, %esp
	mov	$GUEST_HEADER, %ebp
	call	set_up_serial
	mov	GUEST_WALK_ADD(%rbp), %r8
	mov	GUEST_WALK_MASK(%rbp), %r9
	mov	$GUEST_FIRST, %r10d
	mov	$1, %r11d
	shl	$GUEST_VISIT_SHIFT, %r11
	mov	GUEST_STEPS_PER_REST(%rbp), %r12
	xor	%r13d, %r13d
	mov	$GUEST_SLOT_BYTES, %r14d
	xor	%edi, %edi
	xor	%ebx, %ebx

step:
	imul	$GUEST_WALK_MULTIPLIER, %rdi, %rdi
	add	%r8, %rdi
	and	%r9, %rdi
	cmp	%r10, %rdi
	jb	step_aside
	lea	(%rdi,%rbx), %rax
	cmp	%rax, (%rdi,%r13)
	jne	bad_page
write:
	add	%r11, %rax
	mov	%rax, (%rdi,%r14)
	dec	%r12
	jnz	step

	/* A rest. Whoever reads r12 and the header from outside sees 0 until the header counts these steps. */
	mov	GUEST_STEPS_PER_REST(%rbp), %rax
	add	%rax, GUEST_STEPS(%rbp)
	mov	%rax, %r12
	mov	GUEST_REST_US(%rbp), %eax
	test	%eax, %eax
	jz	1f
	mov	$GUEST_TIMER_REST_PORT, %edx
	out	%eax, %dx
	hlt
1:	call	check_time
	cmp	GUEST_NEXT_BEAT_US(%rbp), %rax
	jb	step
	add	GUEST_BEAT_US(%rbp), %rax
	mov	%rax, GUEST_NEXT_BEAT_US(%rbp)
	call	beat
	jmp	step

	/* The program's own pages are passed over. The walk begins, and so each pass ends, at 0, which is one of them. */
step_aside:
	test	%rdi, %rdi
	jnz	step
	add	%r11, %rbx
	mov	%r14, %r13
	add	$GUEST_SLOT_BYTES, %r14d
	and	$(GUEST_PAGE_BYTES - 1), %r14d
	jmp	step

bad_page:
	push	%rdi
	push	%rax
	push	(%rdi,%r13)
	incq	GUEST_FAILURES(%rbp)
	mov	$GUEST_TEXT, %edi
	lea	text_page(%rip), %rsi
	call	put_text
	mov	16(%rsp), %rax
	call	put_hexadecimal
	lea	text_holds(%rip), %rsi
	call	put_text
	pop	%rax
	call	put_hexadecimal
	lea	text_instead(%rip), %rsi
	call	put_text
	mov	(%rsp), %rax
	call	put_hexadecimal
	call	print
	pop	%rax
	pop	%rdi
	jmp	write

	/* The time since boot, into rax. It never goes back. */
check_time:
	mov	$GUEST_TIMER_PORT, %edx
	in	%dx, %eax
	mov	%eax, %ecx
	mov	$GUEST_TIMER_HIGH_PORT, %edx
	in	%dx, %eax
	shl	$32, %rax
	or	%rcx, %rax
	cmp	GUEST_TIME_US(%rbp), %rax
	mov	%rax, GUEST_TIME_US(%rbp)
	jae	1f
	incq	GUEST_FAILURES(%rbp)
	push	%rdi
	push	%rax
	mov	$GUEST_TEXT, %edi
	lea	text_time(%rip), %rsi
	call	put_text
	call	print
	pop	%rax
	pop	%rdi
1:	ret

beat:
	push	%rdi
	mov	$GUEST_TEXT, %edi
	incq	GUEST_BEATS(%rbp)
	lea	text_beat(%rip), %rsi
	call	put_text
	mov	GUEST_BEATS(%rbp), %rax
	call	put_decimal
	lea	text_steps(%rip), %rsi
	call	put_text
	mov	GUEST_STEPS(%rbp), %rax
	call	put_decimal
	lea	text_ok(%rip), %rsi
	cmpq	$0, GUEST_FAILURES(%rbp)
	je	1f
	lea	text_failed(%rip), %rsi
1:	call	put_text
	mov	GUEST_FAILURES(%rbp), %rax
	test	%rax, %rax
	jz	2f
	call	put_decimal
2:	call	print
	pop	%rdi
	ret

	/* Appends the text at rsi to what is at GUEST_TEXT and ends at rdi. */
put_text:
	lodsb
	test	%al, %al
	jz	1f
	stosb
	jmp	put_text
1:	ret

	/* The same for the number in rax. */
put_decimal:
	mov	$10, %ecx
	jmp	put_number
put_hexadecimal:
	mov	$16, %ecx
put_number:
	xor	%edx, %edx
	div	%rcx
	push	%rdx
	test	%rax, %rax
	jz	1f
	call	put_number
1:	pop	%rax
	lea	digits(%rip), %rsi
	mov	(%rsi,%rax), %al
	stosb
	ret

	/* Ends the line and sends it. */
print:
	mov	$10, %al
	stosb
	mov	$GUEST_TEXT, %esi
	mov	%edi, %ecx
	sub	%esi, %ecx
	mov	$GUEST_SERIAL_PORT, %edx
	rep outsb
	ret

	/* 115200 baud, 8 bits, no parity, queues on: as on any machine, though nothing is sent over a wire here. */
set_up_serial:
	lea	serial_settings(%rip), %rsi
	xor	%edx, %edx
1:	lodsw
	test	%eax, %eax
	jz	2f
	mov	%ah, %dl
	mov	$(GUEST_SERIAL_PORT >> 8), %dh
	out	%al, %dx
	xor	%eax, %eax
	jmp	1b
2:	ret

#define SERIAL_REGISTER(number, value) .byte value, (GUEST_SERIAL_PORT & 0xff) + number
serial_settings:
	SERIAL_REGISTER(3, 0x80) /* the divisor, of two registers */
	SERIAL_REGISTER(0, 1)
	SERIAL_REGISTER(1, 0)
	SERIAL_REGISTER(3, 3)
	SERIAL_REGISTER(2, 1)
	.byte 0, 0

digits:		.ascii "0123456789abcdef"
text_beat:	.asciz "beat "
text_steps:	.asciz " steps "
text_ok:	.asciz " ok"
text_failed:	.asciz " failed "
text_page:	.asciz "BAD page 0x"
text_holds:	.asciz " holds 0x"
text_instead:	.asciz " instead of 0x"
text_time:	.asciz "BAD time"
guest_image_end:

	.section .note.GNU-stack, "", @progbits
