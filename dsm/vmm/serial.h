/*
 * A serial port like a 16550's, without interrupts: what is sent is handed on line by line, nothing is
 * received. It is always ready to send. Its state is plain data and moves as it is, with a line that is half
 * sent.
 */
#ifndef MINORCA_DSM_VMM_SERIAL_H
#define MINORCA_DSM_VMM_SERIAL_H

#include <stddef.h>
#include <stdint.h>

#define SERIAL_REGISTERS 8
#define SERIAL_LINE_MAX 256

struct serial {
	uint8_t interrupt_enable, fifo_control, line_control, modem_control, scratch;
	uint8_t divisor[2]; /* lower byte first */
	uint8_t reserved;
	uint32_t used; /* of @line; less than SERIAL_LINE_MAX */
	char line[SERIAL_LINE_MAX];
};

/**
 * The guest writes @value into register @number, below SERIAL_REGISTERS.
 *
 * @return the line that this ends, without its newline, until the next call; else NULL. A line that is too
 * long is cut in pieces.
 */
const char *serial_write(struct serial *s, unsigned int number, uint8_t value);

/** What the guest reads from register @number. */
uint8_t serial_read(const struct serial *s, unsigned int number);

#endif
