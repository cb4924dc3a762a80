// Electronic notes by npm jose and npm canonicalize: signs what it is given, and checks what others signed.
//
//   node notes.mjs sign     stdin: {"key": private JWK, "kid", "alg", "entries": [...]}    stdout: one envelope a line
//   node notes.mjs verify   stdin: {"keys": [public JWK with kid], "envelopes": [...]}     stdout: one JSON value a line
import { createHash } from 'node:crypto'
import canonicalize from 'canonicalize'
import { FlattenedSign, flattenedVerify, importJWK } from 'jose'

const chunks = []
for await (const chunk of process.stdin) chunks.push(chunk)
const told = JSON.parse(Buffer.concat(chunks).toString())
const bytes = (value) => new TextEncoder().encode(canonicalize(value))
const sha256 = (data) => createHash('sha256').update(data).digest('hex')

if (process.argv[2] === 'sign') {
  const key = await importJWK(told.key, told.alg)
  let prev = null
  for (const entry of told.entries) {
    const header = { alg: told.alg, cty: 'enote-entry+json', kid: told.kid, typ: 'enote+jws' }
    const signed = await new FlattenedSign(bytes({ ...entry, prev })).setProtectedHeader(header).sign(key)
    const envelope = { payload: signed.payload, protected: signed.protected, signature: signed.signature }
    prev = `sha-256:${sha256(bytes(envelope))}`
    console.log(canonicalize(envelope))
  }
} else {
  for (const envelope of told.envelopes) {
    const header = JSON.parse(Buffer.from(envelope.protected, 'base64url'))
    const jwk = told.keys.find((one) => one.kid === header.kid)
    let good = false
    try {
      await flattenedVerify(envelope, await importJWK(jwk, header.alg))
      good = true
    } catch {}
    const raw = Buffer.from(envelope.payload, 'base64url')
    const canonical = Buffer.compare(Buffer.from(bytes(JSON.parse(raw))), raw) === 0
    console.log(JSON.stringify({ good, canonical, sha256: sha256(bytes(envelope)), said: JSON.parse(raw) }))
  }
}
