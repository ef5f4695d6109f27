# What runs in the domains of these tests: firmware that answers the power button, and sleeps.
#
# It is all that the processor finds at power-on, so a guest is up at once and costs nothing. It
# knows the chips of QEMU's machine "pc": an 8259 pair and a PIIX4.

        .code16
        .globl  start

        .equ    PM, 0x600               # where the PIIX4's power management is to answer
        .equ    POWER_BUTTON, 0x100     # in its status and its mask
        .equ    UP, 0x75                # at UP_AT in the memory, once it is up
        .equ    UP_AT, 0x500
        .equ    SLEEP, 0x2000           # in its control: type 0, which is off

start:  cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp

# Have the local APIC let through what comes from the 8259s (its LINT0 as "ExtINT"). Its registers
# lie where real mode does not reach: look there once through a segment without an end.
        lgdtl   %cs:table
        movl    %cr0, %eax
        incw    %ax
        movl    %eax, %cr0
        movw    $8, %bx
        movw    %bx, %ds
        movl    $0xfee00350, %ebx
        movl    $0x700, (%ebx)
        decw    %ax
        movl    %eax, %cr0
        xorw    %ax, %ax
        movw    %ax, %ds

# Interrupts 0-7 at 0x08, 8-15 at 0x70; let 9, the power management's, through (and 2, the cascade).
        movb    $0x11, %al
        outb    %al, $0x20
        outb    %al, $0xa0
        movb    $0x08, %al
        outb    %al, $0x21
        movb    $0x70, %al
        outb    %al, $0xa1
        movb    $0x04, %al
        outb    %al, $0x21
        movb    $0x02, %al
        outb    %al, $0xa1
        movb    $0x01, %al
        outb    %al, $0x21
        outb    %al, $0xa1
        movb    $0xfb, %al
        outb    %al, $0x21
        movb    $0xfd, %al
        outb    %al, $0xa1
        movw    $power_off, 0x71 * 4
        movw    %cs, 0x71 * 4 + 2

# The PIIX4 (bus 0, device 1, function 3): its base, then switch it on.
        movl    $0x80000b40, %eax
        movw    $0xcf8, %dx
        outl    %eax, %dx
        movl    $PM + 1, %eax
        movw    $0xcfc, %dx
        outl    %eax, %dx
        movl    $0x80000b80, %eax
        movw    $0xcf8, %dx
        outl    %eax, %dx
        movb    $1, %al
        movw    $0xcfc, %dx
        outb    %al, %dx

        movw    $POWER_BUTTON, %ax
        movw    $PM + 2, %dx
        outw    %ax, %dx
        sti

# Up: say so at an address where the tests look.
        movb    $UP, UP_AT
1:      hlt
        jmp     1b

power_off:
        movw    $SLEEP, %ax
        movw    $PM + 4, %dx
        outw    %ax, %dx
2:      hlt
        jmp     2b

        .align  8
segments:
        .quad   0
        .quad   0x00cf92000000ffff      # data, 4 GiB from 0
table:  .word   . - segments - 1
        .long   0xf0000 + segments

# Where the processor begins.
        .org    0xfff0
        ljmp    $0xf000, $start
        .org    0x10000
