// A rule on one line, as its own YAML says it: no translation, so nothing can be lost.

/** `Allow protocol: TCP, source.selector: role == 'a', destination.ports: [80, http]`. */
export function printRuleText(rule: { readonly action: string }): string {
  const parts = Object.entries(rule)
    .filter(([key]) => key !== 'action' && key !== 'metadata')
    .flatMap(([key, value]) => fields(key, value))
  return parts.length === 0 ? `${rule.action} everything` : `${rule.action} ${parts.join(', ')}`
}

function fields(path: string, value: unknown): string[] {
  if (value === undefined || value === null) return []
  if (Array.isArray(value)) return value.length === 0 ? [] : [`${path}: [${value.map(String).join(', ')}]`]
  if (typeof value === 'object') return Object.entries(value).flatMap(([key, inner]) => fields(`${path}.${key}`, inner))
  return value === '' ? [] : [`${path}: ${String(value)}`]
}
