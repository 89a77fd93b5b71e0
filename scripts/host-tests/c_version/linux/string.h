/* SPDX-License-Identifier: GPL-2.0-only */
#define memcpy __builtin_memcpy
#define memmove __builtin_memmove
