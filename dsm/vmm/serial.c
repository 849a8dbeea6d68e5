#include "dsm/vmm/serial.h"

/* The registers, some of which share a number. */
enum {
	DATA = 0,		/* divisor, lower byte, with DIVISOR_ACCESS */
	INTERRUPT_ENABLE = 1,	/* divisor, upper byte, with DIVISOR_ACCESS */
	INTERRUPT_IDENTITY = 2, /* to read */
	FIFO_CONTROL = 2,	/* to write */
	LINE_CONTROL = 3,
	MODEM_CONTROL = 4,
	LINE_STATUS = 5,
	MODEM_STATUS = 6,
	SCRATCH = 7,
};

#define DIVISOR_ACCESS 0x80	 /* in LINE_CONTROL */
#define FIFO_ON 0x01		 /* in FIFO_CONTROL */
#define NO_INTERRUPT 0x01	 /* in INTERRUPT_IDENTITY */
#define FIFO_IS_ON 0xc0		 /* there too */
#define TRANSMITTER_EMPTY 0x60	 /* in LINE_STATUS: holding register and shift register */
#define CARRIER_READY_CLEAR 0xb0 /* in MODEM_STATUS: somebody listens */

static const char *send(struct serial *s, char byte)
{
	if (byte == '\r')
		return NULL;
	if (byte != '\n')
		s->line[s->used++] = byte;
	if (byte != '\n' && s->used < SERIAL_LINE_MAX - 1)
		return NULL;
	s->line[s->used] = 0;
	s->used = 0;
	return s->line;
}

const char *serial_write(struct serial *s, unsigned int number, uint8_t value)
{
	switch (number) {
	case DATA:
	case INTERRUPT_ENABLE:
		if (s->line_control & DIVISOR_ACCESS)
			s->divisor[number] = value;
		else if (number == DATA)
			return send(s, (char)value);
		else
			s->interrupt_enable = value & 0x0f;
		break;
	case FIFO_CONTROL:
		s->fifo_control = value;
		break;
	case LINE_CONTROL:
		s->line_control = value;
		break;
	case MODEM_CONTROL:
		s->modem_control = value & 0x1f;
		break;
	case SCRATCH:
		s->scratch = value;
		break;
	default: /* the states of line and modem are not for writing */
		break;
	}
	return NULL;
}

uint8_t serial_read(const struct serial *s, unsigned int number)
{
	switch (number) {
	case DATA:
		return s->line_control & DIVISOR_ACCESS ? s->divisor[0] : 0;
	case INTERRUPT_ENABLE:
		return s->line_control & DIVISOR_ACCESS ? s->divisor[1] : s->interrupt_enable;
	case INTERRUPT_IDENTITY:
		return NO_INTERRUPT | (s->fifo_control & FIFO_ON ? FIFO_IS_ON : 0);
	case LINE_CONTROL:
		return s->line_control;
	case MODEM_CONTROL:
		return s->modem_control;
	case LINE_STATUS:
		return TRANSMITTER_EMPTY;
	case MODEM_STATUS:
		return CARRIER_READY_CLEAR;
	default:
		return s->scratch;
	}
}
