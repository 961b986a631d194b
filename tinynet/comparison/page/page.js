"use strict";
{
  const button = document.getElementById("save");
  button.hidden = false;
  button.addEventListener("click", () => {
    const text = document.getElementById("comparison").textContent;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = "comparison.json";
    link.click();
    URL.revokeObjectURL(link.href);
  });
}
