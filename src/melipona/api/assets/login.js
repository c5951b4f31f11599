// Posts the token of the address's fragment, which no server log ever sees, and takes it out of the address first.
const said = document.getElementById("said");
const token = location.hash.slice(1);
history.replaceState(null, "", "/login");

async function login() {
  if (!token) {
    said.textContent = "This address holds no login link.";
    return;
  }
  const response = await fetch("/api/v1/login", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ token }),
  });
  const answer = await response.json();
  if (response.ok) {
    location.replace("/");
  } else {
    said.textContent = `${answer.detail}; ${answer.remedy}.`;
  }
}

login().catch(() => {
  said.textContent = "The hive does not answer. Look at `mel status` on its machine.";
});
