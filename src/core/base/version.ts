// The one place that knows which version this is; a test compares it with package.json.

export const VERSION = '0.1.0'
