// A value that nftables cannot say, or that nft could not read back: a bug of whoever made the value. Its own class, so that
// "not understood" never hides another mistake.
export class EncodeError extends Error {
  override readonly name = 'EncodeError'
}
