/*
 * Lets User-mode Linux 6.1 run on processors whose register state is larger than it knows.
 *
 * Its buffer for the XSAVE state has 2696 bytes (HOST_FP_SIZE), enough up to AVX-512. With AMX the
 * state has some 11000, and ptrace(2) refuses to set a part of it: every machine would panic with
 * "ptrace set fp regs failed". Loaded by LD_PRELOAD, this hands the kernel the whole state, in which
 * the components beyond the buffer are in their initial state, as XSTATE_BV says.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static char whole[65536] __attribute__((aligned(64)));
static size_t size;

static long set_xstate(pid_t pid, void *type, const struct iovec *part)
{
    struct iovec all = {whole, sizeof whole};

    if (!size) {
        if (syscall(SYS_ptrace, PTRACE_GETREGSET, pid, type, &all) < 0)
            return -1;
        size = all.iov_len;
        memset(whole, 0, sizeof whole);
    }
    memcpy(whole, part->iov_base, part->iov_len < size ? part->iov_len : size);
    all.iov_len = size;
    return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, type, &all);
}

long ptrace(enum __ptrace_request request, ...)
{
    va_list arguments;
    pid_t pid;
    void *address, *data;
    long word, result;

    va_start(arguments, request);
    pid = va_arg(arguments, pid_t);
    address = va_arg(arguments, void *);
    data = va_arg(arguments, void *);
    va_end(arguments);
    if (request == PTRACE_SETREGSET && (unsigned long)address == NT_X86_XSTATE)
        return set_xstate(pid, address, data);
    if (request < PTRACE_PEEKTEXT || request > PTRACE_PEEKUSER)
        return syscall(SYS_ptrace, request, pid, address, data);
    /* the library's way for these: the word is what is returned */
    result = syscall(SYS_ptrace, request, pid, address, &word);
    return result < 0 ? result : word;
}
