/** The service, and the few calls that this page makes. */
export const url = new URLSearchParams(location.search).get('service') ?? 'http://127.0.0.1:8080'

/** Outside production the service gives out tokens for any user. In production your backend does. */
export async function tokenFor(user) {
  const { token } = await post('/dev/tokens', { user })
  return token
}

export async function post(path, body, token) {
  const response = await fetch(`${url}${path}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify(body),
  })
  if (!response.ok) throw new Error(`${path}: status ${response.status}`)
  return response.json()
}
