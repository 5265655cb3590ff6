// The secret of the link comes behind the '#', which no server sees. It goes into the form, and out of the address.
"use strict";
function take() {
  if (location.hash.length < 2) return;
  document.getElementById("link").value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  document.body.className = "has-link";
  document.querySelector("button").focus();
}
addEventListener("hashchange", take); // the link was opened where the form was open already
take();
