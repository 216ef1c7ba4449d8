// Questions to the server that delivered this page. Addresses are relative: they stay behind the start address's token.

export async function ask(path) {
  return answerOf(await fetch(path));
}

export async function tell(path, body) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  return answerOf(await fetch(path, options));
}

async function answerOf(response) {
  let answer;
  try {
    answer = await response.json();
  } catch {
    answer = { error: `the server answered ${response.status}` };
  }
  if (!response.ok) throw new Error(answer.error || `the server answered ${response.status}`);
  return answer;
}
