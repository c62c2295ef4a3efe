// JSON texts as plugins print them: one line, ended.

export const printCompact = (value: object): string => `${JSON.stringify(value)}\n`
